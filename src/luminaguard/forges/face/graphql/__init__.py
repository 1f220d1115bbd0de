"""The part of GitHub's GraphQL that `gh` and our own GitHub driver use."""
