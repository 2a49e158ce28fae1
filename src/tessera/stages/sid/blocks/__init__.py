"""Blocks of the item vector, found by the name that a weight in `sid` gives: `vectors.Block`."""
