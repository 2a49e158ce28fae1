"""What MLflow is told; the registry is the truth."""
