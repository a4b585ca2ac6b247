"""The oldest JK boards and active balancers."""
