"""What connects the service with `bmslink.outputs`, which know nothing of it."""
