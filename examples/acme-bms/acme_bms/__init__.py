"""Acme's boards for bmslink: a protocol, its simulated board, and a transport of their own."""
