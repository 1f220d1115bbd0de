"""Facts and plans in, text and JSON out. Pure."""
