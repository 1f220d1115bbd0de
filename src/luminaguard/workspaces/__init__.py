"""A private checkout for an attempt, and the safe way back for what it made."""
