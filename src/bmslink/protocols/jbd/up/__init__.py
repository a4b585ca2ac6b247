"""JBD UP16S rack packs."""
