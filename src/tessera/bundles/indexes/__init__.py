"""Ways to lay out the vectors of a bundle so that the nearest are found, behind one door."""
