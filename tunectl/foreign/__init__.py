"""Models that tunectl did not make: old files converted, strangers mixed, other networks run."""
