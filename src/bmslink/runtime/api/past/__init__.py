"""Routes that look back."""
