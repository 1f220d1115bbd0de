"""May it go on? The project's checks, an agent's review, a person: each answers with a verdict."""
