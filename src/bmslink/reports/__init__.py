"""What bmslink finds out about a pack, for people: the doctor, pictures, the report."""
