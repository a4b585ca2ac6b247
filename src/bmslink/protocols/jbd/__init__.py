"""JBD: frames between DD and 77."""
