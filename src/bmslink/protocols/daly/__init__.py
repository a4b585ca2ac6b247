"""Daly."""
