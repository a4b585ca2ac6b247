"""The line: byte streams, frames cut from them, questions matched to answers, recordings."""
