"""Estimators, bounds and tests of off-policy evaluation on arrays: no verdict, no file."""
