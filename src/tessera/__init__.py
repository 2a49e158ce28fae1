"""Tessera: a recommender for finance whose models are promoted only on valid causal evidence."""
