"""Diffusion processes, noise schedules, and the samplers that run on them."""
