"""What is published and why: acts, history, looks, floors and seals."""
