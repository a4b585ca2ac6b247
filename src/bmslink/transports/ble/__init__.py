"""Bluetooth Low Energy."""
