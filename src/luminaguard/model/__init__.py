"""The nouns: what an issue, a plan, an attempt, a candidate, a verdict, a landing and a fact are. Imports nothing of ours."""
