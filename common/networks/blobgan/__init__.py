"""BlobGAN (Epstein et al. 2022) with rectangular pictures as in OCTET (Zemni et al. 2023): layouts of blobs, splatted.

z -> `layout.LayoutNet` -> `layout.Blobs` -> `splat` -> `generator.BlobGenerator` -> picture in [-1, 1].
`configuration` holds the sizes, `files` reads and writes checkpoints.
"""
