"""What may be shown to whom, and what is drawn from: each rule a small function over arrays."""
