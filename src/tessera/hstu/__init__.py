"""hstu."""
