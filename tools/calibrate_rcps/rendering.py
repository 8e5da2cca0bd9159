"""Pictures of StyleSpace codes: points, ends of intervals, and where they differ."""

import numpy as np

from common.errors import InputError
from common.style_space import FFHQ33, FFHQ_GROUPS

SIZE = 256  # px of the original's panels
PSP = "psp_celebs_super_resolution.pt"  # whose decoder makes pictures where no other generator is named


class Renderer:
    """Makes pictures of StyleSpace codes with a StyleGAN2, the decoder of a pSp checkpoint or one of its own."""

    def __init__(self, path, device="cpu"):
        from common.device import pick_device
        from common.networks.stylegan2_weights import load_stylegan2

        self.device = pick_device(device)
        self.network = load_stylegan2(path, self.device).network
        self.num_dims = sum(self.network.widths)
        self.path = path

    @property
    def panel_size(self):
        """The side of pictures in panels: that of the original's, or of smaller generators their own."""
        return min(SIZE, self.network.size)

    def check(self, num_dims):
        """Raise InputError unless the generator's StyleSpace has so many dims."""
        if num_dims != self.num_dims:
            raise InputError(f"its StyleSpace has {self.num_dims} numbers, the outputs {num_dims}", where=self.path,
                             do="Pass the generator that the encoder was trained for")

    def pictures(self, codes, size=SIZE):
        """Return uint8 (n, size, size, 3) of codes (n, D), with stored noise; Lanczos where the size differs.

        What the codes have in common in the first layers is computed once.
        """
        import torch
        from PIL import Image

        from common.images.pixels import to_uint8

        codes = torch.as_tensor(np.atleast_2d(np.asarray(codes, np.float32)), device=self.device)
        with torch.no_grad():
            shared = self._shared(codes)
            made = [to_uint8(self.network.synthesise(code[None], features=shared), "dmd2")[0] for code in codes]
        if size in (None, self.network.size):
            return np.stack(made)
        return np.stack([np.asarray(Image.fromarray(image).resize((size, size), Image.Resampling.LANCZOS))
                         for image in made])

    def _shared(self, codes):
        """Return the Features before the first style vector in which codes differ, None for a single code."""
        differs = (codes != codes[:1]).any(dim=0).nonzero()
        if len(codes) < 2 or not len(differs):
            return None
        vector = int(np.searchsorted(np.cumsum(self.network.widths), int(differs[0]), side="right"))
        return self.network.features(codes[:1], vector)


def end_codes(point, dims, lower, upper, places=None):
    """Return (low, high) codes (D,): a point with some selected dims at their lower, or upper, ends.

    point: (D,).  dims: (K,) of its numbers; lower, upper: (K,).  places: which of the K, None for all.
    """
    places = np.arange(len(dims)) if places is None else np.asarray(places)
    low, high = np.array(point, np.float32), np.array(point, np.float32)
    low[np.asarray(dims)[places]], high[np.asarray(dims)[places]] = lower[places], upper[places]
    return low, high


def calibrated_ends(values, dims, lambdas, shape=1.0):
    """Return (point (D,), low (K,), high (K,)) of an image: its code, and the ends of its calibrated sets.

    values: (3, D) lower, point and upper values in the truth's units.  dims: (K,) of the D numbers.  lambdas: (1,), or
    (2,) for the lower and the upper arm.  shape: (K,) factors of the arms.
    """
    lower, point, upper = values[:, dims]
    return (values[1], point - lambdas[0] * shape * np.maximum(point - lower, 0),
            point + lambdas[-1] * shape * np.maximum(upper - point, 0))


def group_panels(renderer, point, dims, low, high, size=SIZE):
    """Return [uint8 (size, 3 size, 3)] of each group of dims: its lower ends, its upper ends, their difference."""
    found = []
    for places in groups_of(dims).values():
        first, last = renderer.pictures(np.stack(end_codes(point, dims, low, high, places)), size)
        found.append(panel([first, last, difference(first, last)]))
    return found


def groups_of(dims):
    """Return {name: places among the selected dims} of what is shown together.

    The published groups of the 33 FFHQ dims, else each dim by itself.
    """
    if [dim.flat for dim in FFHQ33] == [int(dim) for dim in dims]:
        return {name: list(places) for name, places in FFHQ_GROUPS.items()}
    return {f"dim_{int(dim)}": [place] for place, dim in enumerate(dims)}


def difference(low, high):
    """Return where two pictures uint8 (H, W, 3) differ, as uint8 (H, W, 3): magma of their red channels' difference."""
    from matplotlib import colormaps

    value = (high[..., 0].astype(np.float64) - low[..., 0]) / 255
    return (colormaps["magma"]((value + 1) / 2)[..., :3] * 255).astype(np.uint8)


def panel(pictures):
    """Return pictures uint8 (H, W, 3) side by side."""
    return np.concatenate(list(pictures), axis=1)
