"""uplift."""
