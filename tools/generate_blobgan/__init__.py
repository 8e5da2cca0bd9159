"""Pictures, blob pictures and layouts of a BlobGAN."""
