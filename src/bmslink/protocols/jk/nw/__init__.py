"""JK's "GPS" port: tag and value behind 4E 57."""
