"""Records: one quantity with its levels; how the catalogue says them, and how they are judged."""
