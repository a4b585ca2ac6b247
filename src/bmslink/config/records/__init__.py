"""What the journal tells of a pack: changes that were cut off, switches, earlier bytes."""
