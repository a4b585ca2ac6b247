"""The command line: one module per command, output and rendering beside them."""
