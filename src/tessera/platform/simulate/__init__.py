"""The closed loop: investors of the embedded market answer the running service, day after day."""
