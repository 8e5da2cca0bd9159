"""Folders of counterfactuals made without a search: layouts of a small BlobGAN, some of their blobs changed."""

import copy
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import nn

from common.blobs.metadata import Counterfactuals, Metadata, write_inversions, write_metadata
from common.files import write_json
from common.images.pixels import rounded_bytes
from common.networks.blobgan.files import read_blobgan
from common.networks.blobgan.layout import Blobs, cat, select
from common.networks.decision import open_decision_model, write_decision_model
from common.networks.decision_networks import DecisionConfig, build_decision_model
from tests.tools.blobgan_networks import save_blobgan

NAMES = ("Forward", "Stop")
SIZES = (3, 2)  # images of the batches
STEEP = 400.0  # the logits of networks of random weights hardly move


@dataclass
class Made:
    """A folder and what is in it. layouts: Blobs of all images.  changed: {attribute: Blobs}."""

    folder: Path
    gan: object
    model: object
    names: list
    layouts: Blobs
    changed: dict
    files: dict = field(default_factory=dict)

    def words(self, *more):
        """Return the words of evaluate_cf, with flags in place of a record."""
        return [self.folder, "--blobgan_weights", self.files["gan"], "--decision_model_weights", self.files["model"],
                "--dataset_path", self.files["images"], *more]

    @property
    def pictures(self):
        """The reconstructions (N, 3, H, W)."""
        return self.gan.render(self.layouts)

    @property
    def targets(self):
        """The images (N, 3, H, W) in [-1, 1], as files have them."""
        pixels = np.stack([np.array(Image.open(self.files["images"] / name)) for name in self.names])
        return torch.from_numpy(pixels).permute(0, 3, 1, 2).float() / 127.5 - 1


def save_decision(path, gan, names=NAMES, seed=0, size=(16, 32), kind="attributes"):
    """Write a small decision model whose decisions on the BlobGAN's pictures are split about evenly; return its
    path."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = build_decision_model(DecisionConfig("small", tuple(names), size, kind)).eval()
        z = torch.randn(64, gan.layout_net.noise_dim)
    last = [part for part in model.modules() if isinstance(part, nn.Linear)][-1]
    with torch.no_grad():
        last.weight *= STEEP
        last.bias -= model.logits(gan.render(gan.layouts(z))).median(dim=0).values
    write_decision_model(path, model, 0, 0.0, {})
    return path


def change(blobs, seed, amount=0.5):
    """Return Blobs with one or two blobs of each picture changed, the last picture left as it is."""
    generator = torch.Generator().manual_seed(seed)
    parts = {name: part.clone() for name, part in blobs._asdict().items()}
    for row in range(len(blobs.xs) - 1):
        for _ in range(2):
            blob = int(torch.randint(blobs.xs.shape[1], (1,), generator=generator))
            for name, part in parts.items():
                place = blob + (name in ("sizes", "features", "spatial_style"))
                scale = 0.2 if name in ("xs", "ys") else 3.0
                part[row, place] += amount * scale * torch.randn(part[row, place].shape, generator=generator)
    return Blobs(**parts)


def make(root, several=None, generated=False, foreign=False, number=5, amount=0.5):
    """Write networks, images and a folder of counterfactuals below `root`; return Made.

    several: number of counterfactuals of each pair, with an axis in front.  foreign: files as the original wrote them.
    What was made once is written again for the next test that asks for it: networks and pictures take a while.
    """
    words = (several, generated, foreign, number, amount)
    if (*words, SIZES) not in _made_before:
        made = _make(root, *words)
        files = [made.files["gan"], made.files["model"], *made.files["images"].iterdir(), *made.folder.iterdir()]
        _made_before[(*words, SIZES)] = copy.deepcopy(made), {path.relative_to(root): path.read_bytes()
                                                              for path in files}
        return made
    made, contents = _made_before[(*words, SIZES)]
    for place, data in contents.items():
        (root / place).parent.mkdir(parents=True, exist_ok=True)
        (root / place).write_bytes(data)
    files = {name: root / path.name for name, path in made.files.items()}
    return replace(copy.deepcopy(made), folder=root / made.folder.name, files=files)


_made_before = {}  # {the words of make and the sizes of the batches: (Made, {place below the root: bytes})}


@torch.no_grad()
def _make(root, several, generated, foreign, number, amount):
    gan_path = save_blobgan(root / "gan.ckpt")
    gan = read_blobgan(gan_path, "cpu")
    model_path = save_decision(root / "decision.tar", gan)
    model = open_decision_model(model_path, "cpu")
    z = torch.randn(number, gan.layout_net.noise_dim, generator=torch.Generator().manual_seed(5))
    layouts = gan.layouts(z)
    names = [f"{place:02}.png" for place in range(number)]
    (root / "images").mkdir(parents=True)
    noise = torch.randn(number, 3, 16, 32, generator=torch.Generator().manual_seed(6))
    for name, pixels in zip(names, rounded_bytes(gan.render(layouts) + 0.05 * noise)):
        Image.fromarray(pixels).save(root / "images" / name)
    changed = {attribute: change(layouts, 10 + attribute, amount) for attribute in range(len(NAMES))}
    if several:
        changed = {attribute: Blobs(*map(torch.stack, zip(*(change(layouts, 20 + 10 * attribute + own)
                                                            for own in range(several))))) for attribute in changed}
    made = Made(root / "cf", gan, model, None if generated else names, layouts, changed,
                {"gan": gan_path, "model": model_path, "images": root / "images"})
    made.folder.mkdir()
    first = 0
    for batch, size in enumerate(SIZES if number == sum(SIZES) else (number,)):
        write_batch(made, batch, slice(first, first + size), foreign)
        first += size
    if not generated:
        write_inversions(made.folder / "all_inversions.pt", names, layouts, {})
    return made


def scores_of(made, blobs):
    """Return what the model says (..., B, A) of pictures of Blobs with any axes in front."""
    flat = Blobs(*(part.flatten(0, part.dim() - (2 if name in ("xs", "ys", "sizes") else 3))
                   for name, part in blobs._asdict().items()))
    return made.model(made.gan.render(flat)).unflatten(0, blobs.xs.shape[:-1])


def write_batch(made, batch, rows, foreign=False):
    """Write the metadata of some images; foreign: as the original, with latent_enc in the first batch and an lpips
    without an axis in a batch of one."""
    start = select(made.layouts, rows)
    attributes = {}
    for attribute, blobs in made.changed.items():
        own = Blobs(*(part[..., rows, :] if name in ("xs", "ys", "sizes") else part[..., rows, :, :]
                      for name, part in blobs._asdict().items()))
        attributes[attribute] = Counterfactuals(scores_of(made, own), own,
                                                torch.zeros(own.xs.shape[:-1]))
    names = None if made.names is None else made.names[rows]
    count = len(start.xs)
    path = made.folder / f"metadata_{batch}.pt"
    metadata = Metadata(names, start, torch.zeros(count), scores_of(made, start), attributes, {})
    write_metadata(path, metadata)
    value = torch.load(path, weights_only=True)
    del value["genprobe"]
    if foreign and batch == 0:
        value["latent_enc"] = torch.zeros(count, 12)
    if foreign and count == 1:
        value["lpips"] = value["lpips"].reshape(())
        for attribute in attributes:
            value[f"att_{attribute}"]["lpips"] = value[f"att_{attribute}"]["lpips"].reshape(())
    torch.save(value, path)


def write_record(made, status="done", **options):
    """Write a run.json as blobex_inv_cf leaves it."""
    write_json(made.folder / "run.json", {
        "status": status, "tool": "blobex_inv_cf", "command": "blobex_inv_cf", "seconds": 12.0,
        "results": {"images": len(made.layouts.xs)},
        "options": {"blobgan_weights": str(made.files["gan"]), "decision_model_weights": str(made.files["model"]),
                    "dataset_path": str(made.files["images"]), "bs": SIZES[0], **options}})


def add_extra(made, batch, extra):
    """Add the key of ours to a batch's file."""
    path = made.folder / f"metadata_{batch}.pt"
    torch.save(torch.load(path, weights_only=True) | {"genprobe": extra}, path)


def joined(*layouts):
    """Return Blobs one after the other."""
    return cat(list(layouts))
