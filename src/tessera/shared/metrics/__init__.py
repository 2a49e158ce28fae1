"""Pure functions on arrays: how good, how profitable, how varied and how honest a list is."""
