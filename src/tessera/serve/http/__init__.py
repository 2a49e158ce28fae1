"""The service over HTTP: bodies, problems, routes."""
