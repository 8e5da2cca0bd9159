"""Training of BlobGAN on own images."""
