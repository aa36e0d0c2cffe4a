"""The engines: one module each, all satisfying contracts.Backend."""
