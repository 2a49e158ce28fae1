"""The command `tessera` and what it prints."""
