"""What the dashboard knows of the packs: pure, and without a terminal."""
