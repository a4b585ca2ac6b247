"""What the policies of served packs decide, and what is kept of it on the disk."""
