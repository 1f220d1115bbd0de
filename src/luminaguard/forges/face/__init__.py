"""Tracker and repository as a server in GitHub's language: REST, the GraphQL of `gh`, git over HTTP."""
