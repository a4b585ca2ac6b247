"""Daly register frames: unit D2, and 81 answered from 51."""
