"""GitHub, github.com and Enterprise: issues in, pull requests out, reviews, checks, merges and comments."""
