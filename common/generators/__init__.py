"""Generators of images for scoring: open_generator(path) gives images by number, whatever kind of file it is.

The one place where kinds are added. A module of this package serves one kind: its function `open_file(path, device,
*, options)` checks the file and returns a Generator; its keyword arguments are the options that the kind has.
"""

import inspect
from abc import ABC, abstractmethod
from importlib import import_module
from pathlib import Path

from common.errors import InputError, Parameter, nearest
from common.files import fingerprint, system_errors
from common.formats.checkpoints import is_safetensors
from common.formats.zips import open_zip, zip_errors
from common.networks.stylegan2_weights import MARK as STYLEGAN2  # BlobGAN's generator has it, too

KINDS = {
    "ncsnpp": "score_model",  # checkpoints of qc_ncsn, ours and published, .pth or .safetensors
    "stylegan2": "stylegan2",  # StyleGAN2 with rosinality's names of weights, .pt or .safetensors
    "blobgan": "blobgan",  # BlobGAN: Lightning's .ckpt, published and of train_blobgan, or .safetensors
    "torchscript": "torchscript",  # a scripted or traced module, z -> images
    "export": "exported",  # a torch.export program (.pt2), z -> images
}
BLOBGAN = (b"layout_net_ema.mlp.1.", b"layout_net.mlp.1.")  # entries of which every such file has one
NAMES = 1 << 22  # bytes at the beginning of a file in which the names of weights are looked for
LEGACY_CHECKPOINT = b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19"  # how torch.save began before it wrote zip archives


class Generator(ABC):
    """Images by number. Image i depends on (seed, i) alone, up to float rounding, whatever batch it is made in.

    name: the file's name.  description: plain values for a run record: kind, name, bytes, sha256, and how it samples.
    resolution: (height, width), or None where it is known only from an image.
    """

    def __init__(self, kind, path, resolution, **how):
        self.name, self.resolution = Path(path).name, resolution
        self.description = {"kind": kind, **fingerprint(path), **how}

    @abstractmethod
    def generate(self, indices, seed):
        """Return the images of these numbers: float32 (n, 3, H, W) or (n, 1, H, W) on the generator's device.

        Values lie in 0..255 and are not rounded.
        """


def open_generator(path, device="cpu", kind=None, **options):
    """Return the Generator of a file.

    kind: one of KINDS; None looks into the file.  options: those of the kind's `open_file`; None stands for its
    default. Raises InputError for a file that is missing, broken or of another kind, and for an option that the kind
    has not.
    """
    if kind is not None and kind not in KINDS:
        raise InputError(f"unknown kind of generator '{kind}'", where=path, do=nearest(kind, KINDS))
    found = find_kind(path)
    if kind not in (None, found):
        raise InputError(f"this file is of kind '{found}', not '{kind}'", where=path,
                         do="Leave the kind out, or give another file")
    open_file = import_module(f"common.generators.{KINDS[found]}").open_file
    known = [name for name,
             parameter in inspect.signature(open_file).parameters.items() if parameter.kind is parameter.KEYWORD_ONLY]
    given = {name: value for name, value in options.items() if value is not None}
    for name in given:
        if name not in known:
            raise InputError(f"a generator of kind '{found}' has no such option", where=Parameter(name),
                             do=f"Leave it out; {path} takes {', '.join(known)}")
    return open_file(path, device, **given)


def find_kind(path):
    """Return which of KINDS a file is, from its contents; InputError when it is none."""
    with system_errors(path), open(path, "rb") as stream:
        head = stream.read(NAMES)
    found = None
    if head.startswith(b"PK"):
        found = _kind_of_archive(path)
    elif head.startswith(LEGACY_CHECKPOINT) or is_safetensors(path):
        found = _kind_of_names(head)
    elif head.startswith(b"\x80") and b"G_ema" in head:
        found = "stylegan2"  # whose reader says why NVIDIA's network pickles are refused
    if found is None:
        raise InputError("this file is not a generator that can be sampled", where=path,
                         do="Give a checkpoint of qc_ncsn, StyleGAN2 or BlobGAN, a TorchScript module or a "
                            "torch.export program")
    return found


def _kind_of_archive(path):
    """Return the kind of a zip archive by the members below its own top folder, or None."""
    with open_zip(path) as archive:
        names = archive.namelist()
        pickles = [name for name in names if name.endswith("/data.pkl") and name.count("/") == 1]
        with zip_errors(path):
            weights = archive.open(pickles[0]).read(NAMES) if pickles else b""
    members = {name.partition("/")[2] for name in names}
    if any(name.startswith("code/") for name in members):
        return "torchscript"
    if "models/model.json" in members:
        return "export"
    if "serialized_exported_program.json" in names:
        raise InputError("a torch.export program as torch 2.7 and earlier wrote it", where=path,
                         do="Load it and save it again with torch 2.8 or later")
    kind = _kind_of_names(weights) if pickles else None
    if kind == "ncsnpp":
        _refuse_weights(weights, path)
    return kind


def _kind_of_names(data):
    """Return the kind of a checkpoint by the names of weights in the bytes that hold them."""
    if any(mark in data for mark in BLOBGAN):
        return "blobgan"
    return "stylegan2" if STYLEGAN2.encode() in data else "ncsnpp"


def _refuse_weights(data, path):
    """Raise InputError for a checkpoint that is a state_dict beside other things, as Lightning writes it."""
    if b"state_dict" in data and b"shadow_params" not in data:
        kind = "a Lightning checkpoint" if b"pytorch-lightning" in data else "a checkpoint with a state_dict"
        raise InputError(f"{kind}: weights, without the network that makes images of them", where=path,
                         do="Export the generator as TorchScript (.pt) or with torch.export (.pt2)")
