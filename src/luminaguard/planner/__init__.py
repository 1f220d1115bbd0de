"""Issues in, plan out: dependencies, kinds, files, waves, forecast, risks. Pure."""
