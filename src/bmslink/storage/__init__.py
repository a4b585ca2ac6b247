"""Files on the disk: the journal, TOML that people write, replacing a file in one step."""
