"""Deciding, pure: a reading in, a decision with its reasons out."""
