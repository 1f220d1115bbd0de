"""The verbs. Each has `SUMMARY`, `arguments(parser)` and `run(options) -> int`, and is loaded only when asked for."""
