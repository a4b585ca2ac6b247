"""Balancing sessions on live packs: looked at first, run, and set back whatever ends them."""
