"""The layout of a tree of images, activations and metadata, and its metadata files.

OUT/images/MODEL/sample_000000.png, OUT/activations/MODEL/batch_000000.npz (and .json for real images) or LAYER.npy,
OUT/metadata/MODEL/dataset_info.json. MODEL is `imagenet_real` or `imagenet` (generated).
"""

import json
from pathlib import Path

REAL, GENERATED = "imagenet_real", "imagenet"


class Tree:
    """Paths below an output folder, for one model."""

    def __init__(self, root, model):
        self.root, self.model = Path(root), model
        self.images = self.root / "images" / model
        self.reconstructed = self.root / "images" / f"{model}_reconstructed"
        self.activations = self.root / "activations" / model
        self.metadata = self.root / "metadata" / model
        self.info = self.metadata / "dataset_info.json"

    def relative(self, path):
        """Return a path relative to the root, as in records."""
        return path.relative_to(self.root).as_posix()


def sample_name(number):
    """Return `sample_000007`."""
    return f"sample_{number:06d}"


def batch_name(number):
    """Return `batch_000007`."""
    return f"batch_{number:06d}"


def write_info(path, head, samples, count):
    """Write dataset_info.json, atomically, streaming its samples: a million of them need no memory.

    head: the entries before `samples`.  samples: an iterable of `count` dicts.
    """
    from common.files import atomic_path, plain

    text = json.dumps(plain({**head, "samples": []}), indent=2, allow_nan=False)
    assert text.endswith('"samples": []\n}')
    with atomic_path(path) as temporary, open(temporary, "w", encoding="utf-8") as stream:
        stream.write(text.removesuffix("[]\n}") + "[")
        written = 0
        for sample in samples:
            lines = json.dumps(plain(sample), indent=2, allow_nan=False).replace("\n", "\n    ")
            stream.write(f"{',' if written else ''}\n    {lines}")
            written += 1
        stream.write("\n  ]\n}\n" if written else "]\n}\n")
        assert written == count, f"{written} samples, expected {count}"


def write_batch_json(path, layers, samples):
    """Write the json beside a batch of activations, atomically."""
    from common.files import write_text

    value = {"batch_size": len(samples), "layers": list(layers), "samples": samples}
    write_text(path, json.dumps(value, indent=2, allow_nan=False) + "\n")
