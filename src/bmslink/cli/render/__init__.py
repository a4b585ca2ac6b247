"""Pure functions from values to what a terminal shows; nothing here reads, writes or waits."""
