"""Who may ask the interface: the guard before every route, and what it goes by."""
