"""What several protocols share: fields, scales, RTU frames, maps of settings."""
