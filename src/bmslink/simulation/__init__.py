"""Packs without hardware: a battery that behaves, and the wires it can be reached over."""
