"""What serving needs: the model, what it says of requests, parts of a vector, saved."""
