"""What the service remembers: readings, energy, events."""
