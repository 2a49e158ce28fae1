"""Ways to find items for an investor, found by name: each module opens a `retrieval.Retriever`."""
