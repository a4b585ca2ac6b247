"""JK over Bluetooth, 24S and 32S records."""
