"""What bmslink finds out about a pack, for people: the doctor's findings, pictures, the commissioning report."""
