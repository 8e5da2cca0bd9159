"""Speed promises, as ratios to a peer that does the same job in the same process (`make bench`)."""
