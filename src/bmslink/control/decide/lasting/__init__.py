"""What lasts beyond one sample: heat, rest, the phase of charging, and all that a restart keeps."""
