"""What a row is: tables, artifacts, the split, the errors; imports nothing of ours."""
