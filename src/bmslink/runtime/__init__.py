"""What keeps running: packs read again and again, through silence and lost links."""
