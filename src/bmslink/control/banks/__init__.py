"""Packs that are wired together: what a bank of them may be charged and discharged with. Pure."""
