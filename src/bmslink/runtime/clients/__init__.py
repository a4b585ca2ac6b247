"""What is done for the clients of the service."""
