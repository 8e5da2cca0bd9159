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
    if isinstance(value, dict) and isinstance(value.get("blob_optim"), dict):
        blobs = _checked(value["blob_optim"], f"{path}: blob_optim", num_blobs)
        names = value.get("image_names", [f"{path.stem}_{row}" for row in range(len(blobs.xs))])
        if not isinstance(names, (list, tuple)) or len(names) != len(blobs.xs):
            raise InputError(f"'image_names' is no list of {len(blobs.xs)} names", where=path, do=AGAIN)
        return _rows(names, blobs)
    if isinstance(value, dict) and {*NAMES} <= {*value}:
        blobs = _checked(value, path, num_blobs)
        return _rows([f"{path.stem}_{row}" for row in range(len(blobs.xs))], blobs)
    if not isinstance(value, dict) or not value or not all(isinstance(item, dict) for item in value.values()):
        raise InputError("holds no layouts", where=path, do=AGAIN)
    return [layout for name, item in value.items()
            for layout in _rows([name], _checked(item, f"{path}: {name}", num_blobs, rows=1))]


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


def _checked(entries, where, num_blobs=None, rows=None):
    """Return Blobs (float32) of a dictionary of arrays or tensors; InputError for what is missing or does not fit."""
    import torch

    tensors = {}
    for name in NAMES:
        if name not in entries:
            raise InputError(f"'{name}' is missing", where=where, do=AGAIN)
        try:
            tensors[name] = torch.as_tensor(entries[name]).detach().float().cpu().contiguous()
        except (TypeError, ValueError, RuntimeError) as error:
            raise InputError(f"'{name}' holds no numbers", where=where, do=AGAIN) from error
    count, blobs = (*tensors["xs"].shape, 0, 0)[:2]
    widths = [tensors[name].shape[-1] if tensors[name].dim() == 3 else 0 for name in ("features", "spatial_style")]
    shapes = dict(zip(NAMES, ((count, blobs), (count, blobs), (count, blobs + 1), (count, blobs, 4),
                              (count, blobs + 1, widths[0]), (count, blobs + 1, widths[1]))))
    for name, tensor in tensors.items():
        if tuple(tensor.shape) != shapes[name] or 0 in tensor.shape:
            raise InputError(f"'{name}' has shape {tuple(tensor.shape)}, expected {shapes[name]}: positions and covs "
                             "have a row for each blob, the others one more, of the background", where=where, do=AGAIN)
        if not bool(tensor.isfinite().all()):
            raise InputError(f"'{name}' holds NaN or infinity", where=where, do="Restore the file or make it again")
    if num_blobs not in (None, blobs) or rows not in (None, count):
        raise InputError(f"{count} layouts of {blobs} blobs, expected {rows or count} of {num_blobs or blobs}",
                         where=where, do="Give layouts of this network")
    return Blobs(**tensors)
