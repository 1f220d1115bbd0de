"""The command line: one file a verb, and the frame that they plug into."""
