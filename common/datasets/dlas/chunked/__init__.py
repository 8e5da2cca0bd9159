"""Chunked image data sets of DL-Art-School: one folder of tiles, ref.jpg and centers.pt for each photo.

MODES maps the mode names of `options.create_dataset` to classes ("module:Class").
"""

MODES = {
    "single_image_extensible": "common.datasets.dlas.chunked.single_image:SingleImageDataset",
    "multi_frame_extensible": "common.datasets.dlas.chunked.multi_frame:MultiFrameDataset",
    "paired_frame": "common.datasets.dlas.chunked.paired_frame:PairedFrameDataset",
}


class DatasetWarning(UserWarning):
    """Something in a data set that is skipped or replaced; the text names the file."""


def warn(text):
    """Issue a DatasetWarning; Python shows the same text once."""
    import warnings

    warnings.warn(text, DatasetWarning, stacklevel=3)
