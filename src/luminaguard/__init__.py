"""LuminaGuard works through a backlog with coding agents and lands only what is proven."""

__version__ = "0.1.0"
