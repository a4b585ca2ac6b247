"""A zip for a bug report: what is in it, what is taken out, and what it is searched for."""
