"""A verdict in; a page out that whoever answers for a promotion reads in five minutes."""
