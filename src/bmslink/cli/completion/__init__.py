"""Completion of a command line in bash, zsh and fish, quick enough for every press of TAB.

Nothing here loads typer, a driver or anything else that is slow, and nothing asks a board: what
there is to choose from is in `table`, which `tools/completion_table.py` makes of the real commands
(a test compares them), and in the file of named packs.
"""
