"""The only door out of a sandbox: model calls with the real key put in, and hosts on a list; it counts and it stops."""
