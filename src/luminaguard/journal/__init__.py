"""The append-only log of facts: the only truth about a run."""
