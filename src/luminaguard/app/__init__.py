"""Settings, and wiring: the one place that names concrete drivers."""
