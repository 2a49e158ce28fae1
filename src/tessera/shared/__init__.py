"""What stages, models and serving share: metrics, features, policies, codes, walks."""
