"""Measured figures: each module measures one thing and writes one JSON into results/."""
