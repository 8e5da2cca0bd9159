"""What every trainer shares: the loop, its state on disk, averages, optimisers, batches and logs."""
