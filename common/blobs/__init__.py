"""What encoders, inversions and searches of BlobGANs share: distances, free rows of a layout, quality of encoders."""
