"""Training of quantile encoders on images with their latents."""
