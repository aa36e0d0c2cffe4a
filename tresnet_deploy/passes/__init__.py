"""Graph rewrites: one a file, each with apply(model) -> Outcome."""
