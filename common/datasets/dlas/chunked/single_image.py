"""SingleImageDataset (mode single_image_extensible): one tile per item, with the whole photo as its reference."""

import torch

from common.datasets.dlas.chunked.base import ChunkedDataset, to_centers, to_planes


class SingleImageDataset(ChunkedDataset):
    """Items of one tile each. Options: `ChunkedDataset`. T = target_size, L = T // scale.

    hq (3, T, T), lq (3, L, L): float32 RGB in 0..1.  gt_fullsize_ref (4, T, T), lq_fullsize_ref (4, L, L): float32,
    the reference's RGB in 0..1 and the mask.  gt_center, lq_center (2,): int64, row and column of the tile's centre in
    pixels of the respective reference.  GT_path, LQ_path: the tile's path.
    """

    MODE = "single_image_extensible"

    def collect(self, frames, low):
        """Return the item's dictionary (see the class)."""
        (frame,), (low,) = frames, low
        return {
            "lq": torch.from_numpy(low), "hq": torch.from_numpy(to_planes(frame.hq)),
            "gt_fullsize_ref": torch.from_numpy(self.full_reference(frame)),
            "lq_fullsize_ref": torch.from_numpy(self.full_reference(frame, low=True)),
            "lq_center": to_centers(frame.low_center), "gt_center": to_centers(frame.center),
            "LQ_path": frame.label, "GT_path": frame.label,
        }
