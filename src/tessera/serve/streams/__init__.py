"""Where events come from beside HTTP, found by name: each module opens a `consume.Stream`."""
