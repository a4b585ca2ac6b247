"""What is judged, by subject: pure functions over what was gathered."""
