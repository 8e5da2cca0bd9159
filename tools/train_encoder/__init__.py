"""Training of encoders: pictures -> layout latents of a BlobGAN."""
