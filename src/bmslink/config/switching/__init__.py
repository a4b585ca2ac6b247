"""Charge, discharge and balancer switches: on with care, off at once."""
