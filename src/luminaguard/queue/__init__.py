"""Merge-queue policy: state and event in, new state and actions out. Pure."""
