"""Groups of ranking features, found by the name that `hstu.features` gives: `ranking.Group`."""
