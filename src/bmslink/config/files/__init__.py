"""Configurations as files: profiles, backups, presets, and comparing them."""
