"""Where issues and pull requests live: the local tracker, and backlog files that are read into it."""
