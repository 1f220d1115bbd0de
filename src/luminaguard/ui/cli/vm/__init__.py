"""The verbs of `luminaguard vm`: one file a verb."""
