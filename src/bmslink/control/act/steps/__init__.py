"""The steps of one cycle of the reconciler, each pure."""
