"""Tables: models and rivals on the same pictures, noise and rounding."""
