"""This machine: run one program and leave nothing behind, git plumbing, locks, the target branch."""
