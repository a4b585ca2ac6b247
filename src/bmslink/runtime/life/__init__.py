"""The lives of the batteries of a service: kept on the disk, and found in files."""
