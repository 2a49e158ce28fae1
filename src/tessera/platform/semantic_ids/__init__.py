"""Semantic IDs for people: what the code of an item says, and one page about a codebook."""
