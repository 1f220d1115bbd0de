"""Isolation levels over one interface: walls around a program that was written by nobody you know."""
