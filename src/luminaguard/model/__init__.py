"""The nouns: issue, plan, attempt, candidate, verdict, landing, fact, fault. Imports nothing of ours."""
