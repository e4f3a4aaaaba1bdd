"""How networks and tuners learn: data, one loop, measures."""
