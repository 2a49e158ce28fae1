"""Semantic IDs as integer arrays and as an array trie; shared by whoever reads codes."""
