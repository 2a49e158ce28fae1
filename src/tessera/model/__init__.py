"""The sequence model: tables to arrays, layers, the trunk, its training and its baselines."""
