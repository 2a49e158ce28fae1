"""Tables in, arrays out: histories, windows, slates, the log, facts."""
