"""JK (Jikong)."""
