"""Where everything lies, how files are written, and the params of a run."""
