"""Watch what was served: read the log day by day, measure, and write each day down."""
