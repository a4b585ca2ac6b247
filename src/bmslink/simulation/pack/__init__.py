"""A battery that behaves: cells, load, heat, and the protection of its board."""
