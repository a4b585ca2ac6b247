"""A recorded device that answers again."""
