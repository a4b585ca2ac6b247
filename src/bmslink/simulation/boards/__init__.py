"""The simulated device of each protocol."""
