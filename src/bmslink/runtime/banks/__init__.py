"""Banks of the service: packs that are wired together, under one set of limits."""
