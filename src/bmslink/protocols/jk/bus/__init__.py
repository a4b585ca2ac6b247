"""JK's parallel bus: records that boards push when a master asks them to."""
