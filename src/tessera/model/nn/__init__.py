"""Layers, losses and batches of tensors: no table, no file."""
