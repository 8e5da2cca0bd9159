"""metadata_<i>.pt and all_inversions.pt: what an inversion and a counterfactual search leave behind (OCTET).

metadata_<i>.pt, one for each batch, is a dictionary: image_names, blob_optim (the six tensors of the inverted images),
lpips (B,), init_scores (B, A), and for each attribute c att_c = {final_scores (B, A), blob_cf, lpips (B,)}; several
counterfactuals at once put an axis in front. Ours has one key more, `genprobe`. all_inversions.pt is {image name: the
six tensors with one row}. Old files have latent_enc, tensors of a GPU and an lpips without an axis.
"""

import re
from pathlib import Path
from typing import NamedTuple, Optional

import torch

from common import console, parallel
from common.errors import InputError
from common.files import read_json, write_json
from common.formats.checkpoints import load_torch, save_torch, weights_hash
from common.networks.blobgan.layout import Blobs, cat, select
from common.numerals import counted
from common.record import RECORD, read_record

EXTRA = "genprobe"
GIVE = "Give a metadata_<i>.pt of blobex_inv_cf or of the original"


class Counterfactuals(NamedTuple):
    """The counterfactuals of one attribute for the B images of a batch.

    scores: (B, A), of their pictures.  blobs: Blobs.  lpips: (B,) to the target image, None where it was not measured.
    assignment: (n, B, K + 1) or None. Of several at once scores, blobs and lpips have an axis of n in front.
    """

    scores: torch.Tensor
    blobs: Blobs
    lpips: Optional[torch.Tensor] = None
    assignment: Optional[torch.Tensor] = None


class Metadata(NamedTuple):
    """One batch. names: of its images, None for generated ones.  blobs: inverted.  lpips: (B,), of the reconstruction,
    or None.  scores: (B, A), of the reconstruction.  attributes: {number: Counterfactuals}.  extra: ours alone."""

    names: Optional[list]
    blobs: Blobs
    lpips: Optional[torch.Tensor]
    scores: Optional[torch.Tensor]
    attributes: dict
    extra: dict


def write_metadata(path, metadata):
    """Write a Metadata, tensors on the CPU in float32."""
    value = {} if metadata.names is None else {"image_names": list(metadata.names)}
    value["blob_optim"] = _stored(metadata.blobs)
    for name, tensor in (("lpips", metadata.lpips), ("init_scores", metadata.scores)):
        if tensor is not None:
            value[name] = _stored(tensor)
    for number, found in sorted(metadata.attributes.items()):
        entry = {"final_scores": _stored(found.scores), "blob_cf": _stored(found.blobs)}
        for name, tensor in (("lpips", found.lpips), ("assignment", found.assignment)):
            if tensor is not None:
                entry[name] = _stored(tensor)
        value[f"att_{number}"] = entry
    save_torch(path, value | {EXTRA: metadata.extra})


def _stored(value):
    if isinstance(value, Blobs):
        return {name: _stored(part) for name, part in value._asdict().items()}
    return value.detach().to("cpu", torch.float32).contiguous().clone()


def read_metadata(path):
    """Return the Metadata of a file of ours or of the original; InputError for a missing, damaged or foreign one."""
    value = load_torch(path)
    if not isinstance(value, dict) or "blob_optim" not in value:
        raise InputError("no metadata of an inversion in it (no 'blob_optim')", where=path, do=GIVE)
    blobs = checked_blobs(value["blob_optim"], f"{path}: blob_optim")
    count, names = len(blobs.xs), value.get("image_names")
    if names is not None and (not isinstance(names, (list, tuple)) or [type(name) for name in names] != [str] * count):
        raise InputError(f"image_names is not a list of {count} names", where=path, do=GIVE)
    scores = _tensor(value, "init_scores", (count, None), path)
    attributes = {}
    for key, entry in value.items():
        number = re.fullmatch(r"att_(\d+)", key) if isinstance(key, str) else None
        if number:
            attributes[int(number[1])] = _counterfactuals(entry, count, scores, path, key)
    extra = value.get(EXTRA)
    return Metadata(None if names is None else list(names), blobs, _per_image(value, "lpips", (count,), path), scores,
                    attributes, extra if isinstance(extra, dict) else {})


def _counterfactuals(entry, count, scores, path, key):
    if not isinstance(entry, dict) or "blob_cf" not in entry:
        raise InputError(f"{key} has no 'blob_cf'", where=path, do=GIVE)
    blobs = checked_blobs(entry["blob_cf"], f"{path}: {key}.blob_cf", several=True)
    lead = tuple(blobs.xs.shape[:-1])
    if lead[-1] != count:
        raise InputError(f"{key} has {counted(lead[-1], 'image')}, blob_optim {count}", where=path, do=GIVE)
    final = _tensor(entry, "final_scores", (*lead, None if scores is None else scores.shape[1]), path)
    if final is None:
        raise InputError(f"{key} has no 'final_scores'", where=path, do=GIVE)
    return Counterfactuals(final, blobs, _per_image(entry, "lpips", lead, path),
                           _tensor(entry, "assignment", (*lead, None), path))


def checked_blobs(entries, where, several=False):
    """Return Blobs, float32 on the CPU, of a dictionary of the six as arrays or tensors, with one row for each image;
    several: more axes in front are fine, of several counterfactuals at once.

    Raises InputError for what is missing, holds no numbers, or does not fit together.
    """
    tensors = {}
    for name in Blobs._fields:
        if not isinstance(entries, dict) or name not in entries:
            raise InputError(f"'{name}' is missing", where=where, do=GIVE)
        try:
            tensor = torch.as_tensor(entries[name]).detach()
            if tensor.is_complex():
                raise TypeError("complex numbers")
            tensors[name] = tensor.float().cpu().contiguous()
        except (TypeError, ValueError, RuntimeError) as error:
            raise InputError(f"'{name}' holds no numbers", where=where, do=GIVE) from error
    lead, blobs = tensors["xs"].shape[:-1], (*tensors["xs"].shape, 0)[-2 if tensors["xs"].dim() else -1]
    widths = [(*tensors[name].shape, 0)[-2] if tensors[name].dim() > 1 else 0 for name in ("features", "spatial_style")]
    rows = ((blobs,), (blobs,), (blobs + 1,), (blobs, 4), (blobs + 1, widths[0]), (blobs + 1, widths[1]))
    for (name, tensor), own in zip(tensors.items(), rows):
        if not lead or (len(lead) > 1 and not several) or tuple(tensor.shape) != (*lead, *own) or 0 in own:
            expected = (*(lead if several and lead else lead[:1] or (1,)), *own)
            raise InputError(f"'{name}' has shape {tuple(tensor.shape)}, expected {expected}: positions and covs have "
                             "a row for each blob, the others one more, of the background", where=where, do=GIVE)
    return Blobs(**tensors)


def _per_image(value, name, lead, path):
    """Return one number an image, (*lead,): a file of one image has it without an axis."""
    part = value.get(name)
    if isinstance(part, torch.Tensor) and part.dim() == 0 and lead == (1,):
        part = part.reshape(1)
    return _tensor({name: part}, name, lead, path)


def _tensor(value, name, shape, path):
    part = value.get(name)
    if part is None:
        return None
    good = isinstance(part, torch.Tensor) and part.dim() == len(shape)
    if not good or any(side is not None and side != own for side, own in zip(shape, part.shape)):
        what = tuple(part.shape) if isinstance(part, torch.Tensor) else type(part).__name__
        raise InputError(f"{name} is {what}, expected {tuple('any' if side is None else side for side in shape)}",
                         where=path, do=GIVE)
    return part.float()


def metadata_files(folder):
    """Return [(i, path)] of the metadata_<i>.pt in a folder, in the order of their numbers."""
    numbered = ((re.fullmatch(r"metadata_(\d+)\.pt", path.name), path) for path in Path(folder).glob("metadata_*.pt"))
    return sorted((int(number[1]), path) for number, path in numbered if number)


def write_inversions(path, names, blobs, marks=None):
    """Write all_inversions.pt: the Blobs of images under their names; and beside it all_inversions.json, {"marks":
    {name: mark of the picture that was inverted}}, where there are marks."""
    save_torch(path, {name: _stored(select(blobs, slice(row, row + 1))) for row, name in enumerate(names)})
    if marks is not None:
        write_json(Path(path).with_suffix(".json"), {"marks": marks})


def read_marks(path):
    """Return {image name: mark of the picture that was inverted} of what `read_inversions` reads; {} where no file says
    so, as of the original's."""
    value, beside = load_torch(path), Path(path).with_suffix(".json")
    if isinstance(value, dict) and "blob_optim" in value:
        metadata = read_metadata(path)
        return dict(zip(metadata.names or (), metadata.extra.get("marks", ())))
    found = read_json(beside) if beside.exists() else {}
    marks = found.get("marks") if isinstance(found, dict) else None
    return marks if isinstance(marks, dict) else {}


def read_inversions(path):
    """Return (names, Blobs) of an all_inversions.pt, or of one metadata_<i>.pt; InputError for a missing, damaged or
    foreign file, and for inversions of several networks."""
    value = load_torch(path)
    if isinstance(value, dict) and "blob_optim" in value:
        metadata = read_metadata(path)
        if metadata.names is None:
            raise InputError("these blobs belong to generated images", where=path, do="Give the inversions of images")
        return metadata.names, metadata.blobs
    if not isinstance(value, dict) or not value or not all(isinstance(entry, dict) for entry in value.values()):
        raise InputError("no inversions in it", where=path, do="Give an all_inversions.pt of blobex_inv_cf")
    rows = [checked_blobs(entry, f"{path}: {name}") for name, entry in value.items()]
    shapes = {tuple(part.shape[1:] for part in row) for row in rows}
    if len(shapes) > 1 or any(len(row.xs) != 1 for row in rows):
        raise InputError("its inversions differ in shape", where=path, do="Give the inversions of one BlobGAN")
    return [str(name) for name in value], cat(rows)


def note_other_weights(path, gan):
    """Say so where the record beside a file of inversions names other weights of a BlobGAN than these: the same blobs
    are other pictures there."""
    record = Path(path).parent / RECORD
    stored = read_record(record).get("derived") if record.exists() else None
    before = stored.get("contents of blobgan_weights") if isinstance(stored, dict) else None
    if before is not None and before != weights_hash(gan) and parallel.is_main():
        console.say(f"note: {path}: made with other weights of a BlobGAN; these may render other pictures of its blobs")


def widths_of(blobs):
    """Return (number of blobs, width of a feature, width of a style) of Blobs."""
    return blobs.xs.shape[-1], blobs.features.shape[-1], blobs.spatial_style.shape[-1]


def check_widths(widths, config, where):
    """Raise InputError unless these widths (see `widths_of`) are those of a BlobGAN's blobs; config: BlobGANConfig."""
    own = config.num_blobs, config.feature_dim, config.dim
    if widths != own:
        said = [f"{number} of {feature} and {style} numbers" for number, feature, style in (widths, own)]
        raise InputError(f"its blobs are {said[0]}, the BlobGAN's {said[1]}", where=where,
                         do="Pass the BlobGAN that made them with --blobgan_weights")
