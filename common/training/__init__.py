"""Shared by all trainers: the loop, its state on disk, averages, optimisers, batches and logs."""
