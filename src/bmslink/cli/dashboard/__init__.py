"""The full-screen dashboard of `bmslink monitor`."""
