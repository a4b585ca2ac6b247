"""Policies tried on recordings."""
