"""What the dashboard shows, as lines of text that fit a given width: pure."""
