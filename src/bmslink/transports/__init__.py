"""Byte roads: one module per kind of wire, each the only one that imports its library."""
