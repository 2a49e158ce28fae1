"""Vectors, codes, model and verdict in; one folder out that can be published whole."""
