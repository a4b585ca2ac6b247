"""Which board this is: its serial number, its place, its bytes; and who holds it."""
