"""BlobGAN (Epstein et al. 2022) as OCTET has it: layouts, splatting, generator, discriminator and encoder."""
