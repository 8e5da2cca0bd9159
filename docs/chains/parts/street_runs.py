"""Runs of blobex_inv_cf on the models of the demo, and what the judge and a second model say of them.

Made below FOLDER/.measures, where FOLDER is what docs/chains/counterfactuals.sh made; one that is there is passed over.
"""

import json
import shutil
import sys
import time
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch

from common.explained.opening import open_explained
from common.files import write_json
from docs.chains.parts.street_flips import ATTRIBUTES, read_flips
from docs.chains.parts.street_tables import results
from docs.chains.parts.streets import read_judge

SCENES, OTHERS = 24, 96
OTHER = {"decision": "oracle", "oracle": "decision", "biased": "oracle"}  # who judges a model independently
COLUMNS = ("success", "truth", "kept", "L1", "blobs", "evaluations", "oracle", "agreement", "on real")


class Demo:
    """The folder of the demo. cpu: seconds that each run took."""

    def __init__(self, folder):
        self.folder, self.judge = Path(folder), read_judge(Path(folder) / ".scenes" / "judge.json")
        self.val, self.models = self.folder / ".scenes" / "val", {}
        self.gan = self.folder / "gan" / "checkpoints" / Path(results(self.folder / "gan")["best_checkpoint"]).name

    def checkpoint(self, model):
        """Return the file of a decision model."""
        return self.folder / model / "checkpoint.tar"

    def model(self, name):
        """Return the Explained of a decision model."""
        if name not in self.models:
            self.models[name] = open_explained(self.checkpoint(name))
        return self.models[name]

    def run(self, name, *words, model="decision", scenes=SCENES, perceptual="oracle"):
        """Run blobex_inv_cf once and return (its folder, CPU seconds)."""
        from tools.blobex_inv_cf.__main__ import cli

        place = self.folder / ".measures" / name
        began = time.process_time()
        status = cli(["--preset", "streets", "--blobgan_weights", str(self.gan), "--quiet",
                      "--dataset_path", str(self.val),
                      "--encoder_weights", str(self.folder / "encoder_train" / "best.pt"),
                      "--decision_model_weights", str(self.checkpoint(model)), "--max_images", str(scenes),
                      "--perceptual", str(self.checkpoint(perceptual)), "--bs", str(scenes),
                      "--output_dir", str(place), *words])
        if status:
            sys.exit(status)
        stored = place / "cpu.json"
        if not stored.exists():
            write_json(stored, {"seconds": time.process_time() - began})
        return place, json.loads(stored.read_text())["seconds"]

    def search(self, name, *words, model="decision", scenes=SCENES):
        """Run a search on the inversion that all searches of so many scenes share."""
        inversion, _ = self.run(f"inversion_{model}_{scenes}", "--inversion_only", model=model, scenes=scenes)
        return self.run(f"{name}_{model}", "--load_inversion", "--inversions_path",
                        str(inversion / "all_inversions.pt"), *words, model=model, scenes=scenes)


class Others(Demo):
    """The same with the held-out scenes after the first 24, which no choice has seen."""

    def __init__(self, folder):
        super().__init__(folder)
        paths = sorted(self.val.glob("*.png"))[SCENES : SCENES + OTHERS]
        self.val = self.folder / ".measures" / "others"
        self.val.mkdir(parents=True, exist_ok=True)
        for path in paths:
            shutil.copyfile(path, self.val / path.name)


class Numbers(NamedTuple):
    """What a run comes to; truth is a list of those of the attributes."""

    success: float
    truth: float
    kept: float
    l1: float
    blobs: float
    evaluations: float
    oracle: float
    agreement: float
    on_real: float
    truths: list

    def cells(self):
        """Return the text of COLUMNS."""
        return [f"{self.success:.2f}", f"{self.truth:.2f}", f"{self.kept:.2f}", f"{self.l1:.3f}", f"{self.blobs:.1f}",
                f"{self.evaluations:.1f}", f"{self.oracle:.2f}", f"{self.agreement:.2f}", f"{self.on_real:.2f}"]


class Pairs:
    """Pairs of a run as arrays. flipped, started (the judge saw the start as the model does), seen (it sees the flip),
    kept (it sees the three others as before), oracle (so does the oracle): (N,) bool."""

    def __init__(self, demo, folder, dense, model="decision"):
        self.flips = flips = read_flips(folder, dense)
        lines = flips.lines
        self.attribute = np.array([int(line["attribute"]) for line in lines])
        self.target = np.array([line["target"] == "1" for line in lines])
        self.flipped = np.array([line["outcome"] == "flipped" for line in lines])
        rows = np.arange(len(lines))
        before, after = demo.judge.decide(flips.before), demo.judge.decide(flips.after)
        self.started = before[rows, self.attribute] != self.target
        self.seen = after[rows, self.attribute] == self.target
        same = (before == after)[:, : len(ATTRIBUTES)]
        same[rows, self.attribute] = True
        self.kept = same.all(axis=1)
        with torch.no_grad():
            decided = demo.model(OTHER[model]).decided(flips.pictures).numpy()
        self.oracle = decided[rows, self.attribute] == self.target
        self.prefix = "dense_" if dense else ""

    def column(self, name):
        """Return a column of pairs.csv (N,), of the version that is read where it has one."""
        lines = self.flips.lines
        name = f"{self.prefix}{name}" if f"{self.prefix}{name}" in lines[0] else name
        return np.array([float(line[name] or "nan") for line in lines])

    def numbers(self):
        """Return the Numbers."""
        flipped, told = self.flipped, self.flipped & self.started
        cost = self.column("evaluations") + (0 if self.prefix else self.column("sparse_evaluations"))
        truths = [self.seen[told & (self.attribute == number)].mean() for number in range(len(ATTRIBUTES))
                  if (told & (self.attribute == number)).any()]
        return Numbers(flipped.mean(), self.seen[told].mean(), self.kept[flipped].mean(),
                       self.column("l1")[flipped].mean(), self.column("blobs_changed")[flipped].mean(), cost.mean(),
                       self.oracle[flipped].mean(), (self.oracle == self.seen)[told].mean(),
                       self.column("flip_on_real")[flipped].mean(), truths)


def show(title, columns, rows):
    """Print a table in Markdown."""
    print(f"\n{title}\n")
    for row in (columns, ["---"] * len(columns), *rows):
        print(f"| {' | '.join(map(str, row))} |", flush=True)


def versions(demo, folder, title, model="decision"):
    """Return the rows of a run before it was made sparse and after."""
    return [[f"{title}{', sparse' if not dense else ''}", *Pairs(demo, folder, dense, model).numbers().cells()]
            for dense in (True, False)]
