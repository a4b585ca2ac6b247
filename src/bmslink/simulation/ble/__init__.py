"""Simulated Bluetooth modules."""
