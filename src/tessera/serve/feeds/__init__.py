"""Ways to keep the feed, found by name: each module opens a `feed.Feed`."""
