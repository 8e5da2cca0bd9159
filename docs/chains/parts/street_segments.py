"""Counterfactuals of a segmentation and of a detector on the made streets, from the models of the demo.

    python -m docs.chains.parts.street_segments FOLDER

FOLDER: what docs/chains/counterfactuals.sh made. A small network learns the classes of the scenes' pixels and is
exported as a TorchScript module and as a torch.export program; the decision model's three lanes become a detector of
three boxes. The share of road in the lower half, the share of obstacles there and the number of obstacles are then
driven above and below a value that splits the scenes, on held-out scenes. Everything lies below FOLDER/.segments.
"""

import sys

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from common.datasets.prepared import to_network
from common.explained.objective import parse_objective
from common.networks.decision import open_decision_model
from common.seeding import unit_generator
from common.training import eager
from docs.chains.parts.street_runs import Demo, show
from docs.chains.parts.streets import CLASSES, LANES, scenes, segments

SCENES, LEARNED, STEPS, ROWS, RATE = 16, 2000, 300, 32, 4e-3
LOWER = "0,0.55,1,1"  # the region of the shares


class Segmenter(nn.Module):
    """Pictures (B, 3, H, W) in [-1, 1] -> logits (B, 5, H, W) of CLASSES."""

    def __init__(self, width=16):
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(3, width, 3, padding=1), nn.ReLU(), nn.Conv2d(width, width, 3, padding=2, dilation=2), nn.ReLU(),
            nn.Conv2d(width, width, 3, padding=4, dilation=4), nn.ReLU(), nn.Conv2d(width, len(CLASSES), 1))

    def forward(self, pictures):
        return self.layers(pictures)


class Detector(nn.Module):
    """A decision model's lanes as detections (B, 3, 6): the lane's box, its score of an obstacle there, class 0."""

    def __init__(self, model, aspect):
        super().__init__()
        self.model = model
        boxes = [((centre - 4) * aspect, 19.0, (centre + 4) * aspect, 26.0) for centre in LANES.values()]
        self.register_buffer("boxes", torch.tensor(boxes))

    def forward(self, pictures):
        scores = self.model.logits(pictures)[:, 1:4].sigmoid()[..., None]
        nothing = torch.zeros_like(scores)
        return torch.cat([nothing + self.boxes, scores, nothing], dim=2)


def train_segmenter(aspect):
    """Return the Segmenter and its accuracy on pixels of the held-out scenes."""
    pixels, truth = (torch.from_numpy(part) for part in (scenes(0, range(LEARNED), aspect)[0],
                                                         segments(0, range(LEARNED), aspect)))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = Segmenter()
    adam = eager.Adam(network.parameters(), lr=RATE)
    for step in range(STEPS):
        rows = torch.randint(LEARNED, (ROWS,), generator=unit_generator(0, "segments", step))
        loss = F.cross_entropy(network(to_network(pixels[rows].numpy())), truth[rows].long())
        adam.zero_grad()
        loss.backward()
        adam.step()
    held_out = range(8000, 8200)
    with torch.no_grad():
        seen = network(to_network(scenes(0, held_out, aspect)[0])).argmax(dim=1)
    return network.eval(), float((seen.numpy() == segments(0, held_out, aspect)).mean())


def export(network, path, size):
    """Write a network as .pt (TorchScript) and .pt2 (torch.export); return both paths."""
    batch = torch.export.Dim("batch", min=1, max=256)
    torch.jit.save(torch.jit.trace(network, torch.zeros(2, 3, *size)), path.with_suffix(".pt"))
    program = torch.export.export(network, (torch.zeros(2, 3, *size),), dynamic_shapes=({0: batch},))
    torch.export.save(program, path.with_suffix(".pt2"))
    return path.with_suffix(".pt"), path.with_suffix(".pt2")


def split(demo, network, word):
    """Return the value that splits the scenes that are searched: the median of an objective on them."""
    pixels = scenes(0, range(8000, 8000 + SCENES), demo.aspect)[0]
    with torch.no_grad():
        return float(np.median(parse_objective(word, CLASSES).score(network(to_network(pixels))).numpy()))


def main(folder):
    """Make the programs and print the table."""
    demo = Demo(folder)
    model = open_decision_model(demo.checkpoint("decision"))
    size = tuple(model.size)
    demo.aspect = size[1] // size[0]
    place = demo.folder / ".segments"
    place.mkdir(exist_ok=True)
    network, accuracy = train_segmenter(demo.aspect)
    print(f"pixels of held-out scenes that the segmentation has right: {accuracy:.3f}")
    segmenters = export(network, place / "segments", size)
    detectors = export(Detector(model, demo.aspect).eval(), place / "detector", size)
    words = [f"share:{name}@{LOWER}" for name in ("road", "obstacle")]
    goals = [(path, word, split(demo, network, word)) for word in words for path in segmenters]
    goals += [(path, "count:obstacle", value) for value in (0.5, 1.5) for path in detectors]
    rows = []
    for path, word, value in goals:
        names = CLASSES if word.startswith("share") else ("obstacle",)
        run, _ = demo.run(f"{path.name}_{word.partition('@')[0].replace(':', '_')}_{value:.2f}",
                          "--decision_model_weights", str(path), "--objective", word, "--threshold", f"{value:.6f}",
                          "--class_names", *names, scenes=SCENES)
        rows += lines(run, path.suffix, word, value)
    show("programs", ["file", "objective", "value", "driven", "scenes", "flipped", "L1", "blobs", "evaluations",
                      "flips on real"], rows)


def lines(run, suffix, word, value):
    """Return the rows of a run: pairs driven above the value, and below."""
    import csv

    with open(run / "pairs.csv", newline="") as table:
        pairs = list(csv.DictReader(table))
    found = []
    for target, way in (("1", "above"), ("0", "below")):
        own = [pair for pair in pairs if pair["target"] == target and pair["outcome"] != "already"]
        flips = [pair for pair in own if pair["outcome"] == "flipped"]
        means = [np.mean([float(pair[name]) for pair in flips]) if flips else float("nan")
                 for name in ("l1", "blobs_changed", "evaluations", "flip_on_real")]
        found.append([suffix, word.partition("@")[0], f"{value:.2f}", way, len(own), len(flips), f"{means[0]:.3f}",
                      f"{means[1]:.1f}", f"{means[2]:.1f}", f"{means[3]:.2f}"])
    return found


if __name__ == "__main__":
    main(*sys.argv[1:])
