"""Pictures of a StyleGAN2 with the latents that make them."""
