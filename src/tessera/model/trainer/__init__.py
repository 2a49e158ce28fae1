"""One trainer for all that learns by gradient: knows no model, no table, no params."""
