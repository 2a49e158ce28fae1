"""How stages are ordered, run, validated, tracked and published; the floor that knows all."""
