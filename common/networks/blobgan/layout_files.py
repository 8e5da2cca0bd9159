"""Layouts of BlobGAN in files: ours (.npz, one image each), and the counterfactual scripts' (.pt).

| file | what is in it |
| --- | --- |
| NNNN.npz of generate_blobgan | the six tensors, one row; `noise` (fixed or seeded), `seed`, `index` |
| metadata_<i>.pt | `blob_optim`, a dictionary of the six with B rows; `image_names` of real images |
| all_inversions.pt | {name of the image: dictionary of the six with one row} |

The six are those of `Blobs`, float32, covs raw; row 0 of sizes, features and spatial_style is the background. No file
can run code.
"""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Optional

from common.errors import InputError
from common.files import read_npz, write_npz
from common.networks.blobgan.layout import Blobs

NAMES = Blobs._fields
DRAWS = ("noise", "seed", "index")  # entries beside the six in ours
AGAIN = "Give a file of generate_blobgan, metadata_<i>.pt or all_inversions.pt"


@dataclass
class StoredLayout:
    """The layout of one image.

    name: of the image, without a suffix.  blobs: Blobs of one row, float32 on the CPU.  draw: (seed, index) from which
    the image's own noise maps come, or None for the fixed ones.
    """

    name: str
    blobs: Blobs
    draw: Optional[tuple] = None


def write_layout(path, layout, sync=True):
    """Write a StoredLayout as .npz, uncompressed, atomically. sync: see common.files.atomic_path."""
    arrays = {name: tensor.detach().cpu().numpy() for name, tensor in layout.blobs._asdict().items()}
    draw = {} if layout.draw is None else {"seed": layout.draw[0], "index": layout.draw[1]}
    write_npz(path, compressed=False, sync=sync, **arrays, noise="fixed" if layout.draw is None else "seeded", **draw)


def read_layouts(place, num_blobs=None):
    """Return the StoredLayouts of a file, or of all .npz (else metadata_*.pt) in a folder, in natural order.

    num_blobs: K that is expected, None for any.
    Raises InputError for a missing, damaged or foreign file, shapes that do not go together, and NaN.
    """
    place = Path(place)
    layouts = [layout for path in _files(place) for layout in _read(path, num_blobs)]
    if not layouts:
        raise InputError("no layouts in it", where=place, do=AGAIN)
    names = [layout.name for layout in layouts]
    if len({*names}) < len(names) or not all(re.fullmatch(r"[^/\\\x00]{1,200}", name) for name in names):
        for number, layout in enumerate(layouts):
            layout.name = f"{number:04d}"
    return layouts


def _files(place):
    if not place.is_dir():
        return [place]
    found = list(place.glob("*.npz")) or list(place.glob("metadata_*.pt"))
    if not found:
        raise InputError("no layouts here (looked for *.npz and metadata_*.pt)", where=place, do=AGAIN)
    return sorted(found, key=lambda path: [int(part) if part.isdigit() else part
                                           for part in re.split(r"(\d+)", path.name)])


def _read(path, num_blobs):
    """Return the StoredLayouts of one file."""
    if path.suffix.lower() == ".npz":
        arrays = read_npz(path, required=NAMES, optional=DRAWS)
        blobs, draw = _checked(arrays, path, num_blobs), _draw(arrays, path)
        names = [path.stem] if len(blobs.xs) == 1 else [f"{path.stem}_{row}" for row in range(len(blobs.xs))]
        return _rows(names, blobs, draw)
    from common.formats.checkpoints import load_torch

    value = load_torch(path)
    if isinstance(value, dict) and {*NAMES} <= {*value}:
        blobs = _checked(value, path, num_blobs)
        return _rows([f"{path.stem}_{row}" for row in range(len(blobs.xs))], blobs)
    if isinstance(value, dict) and "blob_optim" in value:
        from common.blobs.metadata import read_metadata

        metadata = read_metadata(path)
        names, blobs = metadata.names, metadata.blobs
        names = [f"{path.stem}_{row}" for row in range(len(blobs.xs))] if names is None else names
    else:
        from common.blobs.metadata import read_inversions

        names, blobs = read_inversions(path)
    return _rows(names, _checked(blobs._asdict(), path, num_blobs))


def _rows(names, blobs, draw=None):
    return [StoredLayout(Path(str(name)).stem or str(number), Blobs(*(tensor[number : number + 1] for tensor in blobs)),
                         draw) for number, name in enumerate(names)]


def _draw(arrays, path):
    """Return (seed, index) of an image's own noise, None for the fixed maps."""
    if str(arrays.get("noise", "fixed")) == "fixed":
        return None
    found = [arrays.get(name) for name in ("seed", "index")]
    if any(value is None or value.dtype.kind not in "iu" or value.size != 1 for value in found):
        raise InputError("no whole numbers 'seed' and 'index', from which its noise comes", where=path,
                         do="Make it again, or set 'noise' to fixed")
    return tuple(int(value.reshape(-1)[0]) for value in found)


def _checked(entries, where, num_blobs):
    """Return Blobs (float32) of a dictionary of arrays or tensors; InputError for what is missing or does not fit."""
    from common.blobs.metadata import checked_blobs

    blobs = checked_blobs(entries, where)
    for name, tensor in blobs._asdict().items():
        if not bool(tensor.isfinite().all()):
            raise InputError(f"'{name}' holds NaN or infinity", where=where, do="Restore the file or make it again")
    if num_blobs not in (None, blobs.xs.shape[1]):
        raise InputError(f"layouts of {blobs.xs.shape[1]} blobs, expected {num_blobs}", where=where,
                         do="Give layouts of this network")
    return blobs
