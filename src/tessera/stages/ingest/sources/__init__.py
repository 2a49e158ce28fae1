"""Where events come from, one module a source: what it means, and how its files are read."""
