"""What must hold before anything is sent."""
