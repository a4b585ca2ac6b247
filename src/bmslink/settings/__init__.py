"""What can be configured: the key catalogue, units, chemistries, and the rules between settings."""
