"""One request in; a ranked, suitable, explained list out, read from the published bundle."""
