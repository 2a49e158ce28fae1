"""Models that learn by gradient beside the trunk."""
