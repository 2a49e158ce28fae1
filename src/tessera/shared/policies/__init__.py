"""One definition of how scores become a slate and of what an investor may be shown."""
