"""What runs everything: workspace, pipeline, validation, tracking, release, command line."""
