"""Tables of docs/blobex_inv_cf_measured.md, from the models of the demo.

    python -m docs.chains.parts.street_measures FOLDER [TABLE ...]

FOLDER: what docs/chains/counterfactuals.sh made. TABLE: speed, sparse, bias, real, diverse, sizes, inversion (default:
all). Runs lie below FOLDER/.measures and are passed over the next time.
"""

import json
import sys
import time
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from PIL import Image

from common.blobs.metadata import metadata_files, read_metadata
from common.explained.opening import open_explained
from common.files import write_json
from common.networks.blobgan.files import read_blobgan
from docs.chains.parts.street_flips import ATTRIBUTES, measures_of, read_flips, render
from docs.chains.parts.street_tables import results
from docs.chains.parts.streets import COINS, read_judge

SCENES, SPEED_SCENES, DIVERSE_SCENES = 24, 32, 12
OTHER = {"decision": "oracle", "oracle": "decision", "biased": "oracle"}  # who judges a model independently
FIXED = ("--early_stop", "off", "--n_iters_cf", "100")
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


def speed(demo):
    """Early stop and all attributes at once, against 100 steps attribute by attribute."""
    early, seconds = demo.search("early32", "--sparse", "off", scenes=SPEED_SCENES)
    fixed = [demo.search(f"fixed32_{name}", *FIXED, "--sparse", "off", "--target_attributes", name,
                         scenes=SPEED_SCENES) for name in ATTRIBUTES]
    ours, theirs = Pairs(demo, early, True).numbers(), [Pairs(demo, folder, True).numbers() for folder, _ in fixed]
    mean = [np.mean([getattr(each, name) for each in theirs]) for name in ours._fields[:4]]
    rows = [["early stop, all attributes at once", *(f"{value:.3f}" for value in ours[:4]),
             f"{ours.evaluations:.1f}", f"{seconds:.1f}"],
            ["100 steps, attribute by attribute", *(f"{value:.3f}" for value in mean),
             f"{np.mean([each.evaluations for each in theirs]):.1f}", f"{sum(each for _, each in fixed):.1f}"]]
    show("speed", ["search", "success", "truth", "kept", "L1", "evaluations", "CPU s"], rows)


SPARSE = {  # name: (what the table calls it, flags)
    "margin4": ("margin 4", ("--margin", "4")),
    "sparse1": ("margin 4, sparse margin 1", ("--margin", "4", "--sparse_margin", "1")),
    "margin8": ("margin 8", ("--margin", "8")),
    "tensors": ("margin 8, single tensors too", ("--margin", "8", "--sparse", "tensors")),
    "fixed": ("100 steps", FIXED), "style": ("margin 8, styles alone", ("--target_features", "spatial_style")),
    "six": ("margin 8, all six tensors", ("--target_features", "xs", "ys", "sizes", "covs", "features",
                                          "spatial_style")),
    "prox": ("margin 8, proximity 3", ("--lambda_prox_cf", "3")),
}


def versions(demo, folder, title, model="decision"):
    """Return the rows of a run before it was made sparse and after."""
    return [[f"{title}{', sparse' if not dense else ''}", *Pairs(demo, folder, dense, model).numbers().cells()]
            for dense in (True, False)]


def sparse(demo):
    """Searches, and what making them sparse changes; and the attributes one by one."""
    rows, each = [], []
    for name, (title, flags) in SPARSE.items():
        folder, _ = demo.search(name, *flags)
        own = versions(demo, folder, title)
        rows += own if name not in ("sparse1", "tensors") else own[1:]
        for dense in (True, False):
            each.append([own[not dense][0],
                         *(f"{share:.2f}" for share in Pairs(demo, folder, dense).numbers().truths)])
    show("sparse", ["search", *COLUMNS], rows)
    show("truth by attribute", ["search", *ATTRIBUTES], each)


def bias(demo):
    """Mean shift of the judge's measures towards the target when the decision about the light flips."""
    rows = []
    kinds = {"styles alone, margin 8": ("--target_features", "spatial_style", "--margin", "8"),
             "default tensors, margin 8": ("--margin", "8")}
    for model in ("decision", "biased"):
        for number, (title, flags) in enumerate(kinds.items()):
            folder, _ = demo.search(f"bias{number}", *flags, "--target_attributes", "green", model=model)
            for dense in (True, False):
                pairs = Pairs(demo, folder, dense, model)
                sign = np.where(pairs.target, 1, -1)[:, None]
                moved = (demo.judge.shares(pairs.flips.after) - demo.judge.shares(pairs.flips.before)) * sign
                light, sky = moved[pairs.flipped].mean(axis=0)[[COINS.index("green"), COINS.index("warm")]]
                rows.append([model, f"{title}{'' if dense else ', sparse'}", f"{light:.2f}", f"{sky:.2f}",
                             f"{pairs.numbers().success:.2f}"])
    show("bias", ["model", "search", "light", "sky", "success"], rows)


def real(demo):
    """Searches on reconstructions and on real pictures."""
    rows = []
    for on in ("reconstruction", "real"):
        folder, _ = demo.search(f"on_{on}", "--search_on", on)
        rows += versions(demo, folder, f"--search_on {on}")
    show("on real pictures", ["search", *COLUMNS], rows)


def diverse(demo):
    """Three counterfactuals at once, by three formulations and two seeds."""
    kinds = {"gate": (), "no gate": ("--gate", "off"), "restarts": ("--diversity", "restarts")}
    rows = []
    for steps, extra in (("early stop", ()), ("30 steps", ("--early_stop", "off", "--n_iters_cf", "30"))):
        for title, flags in kinds.items():
            for seed in (0, 1):
                name = f"diverse_{title.replace(' ', '_')}_{steps.replace(' ', '_')}_{seed}"
                folder, _ = demo.search(name, "--num_diverse", "3", "--learning_rate_cf", "0.16", "--seed",
                                        str(seed), *flags, *extra, scenes=DIVERSE_SCENES)
                pairs = Pairs(demo, folder, False)
                numbers = pairs.numbers()
                spread = [pairs.column(each).mean() for each in ("pixel_distance", "relative_distance", "cosine",
                                                                 "blob_overlap")]
                rows.append([title, steps, seed, f"{numbers.success:.2f}", *(f"{value:.3f}" for value in spread),
                             f"{numbers.truth:.2f}", f"{numbers.l1:.3f}", f"{numbers.evaluations:.0f}"])
    show("diverse", ["formulation", "steps", "seed", "success", "pixel distance", "over distance to start", "cosine",
                     "blob overlap", "truth", "L1", "evaluations"], rows)


def sizes(demo):
    """The learning rate of sizes as a share of --learning_rate_cf; the others' is an eighth of that."""
    rows = []
    for model in ("decision", "oracle"):
        for ratio in ("1", "0.5", "0.125", None):
            flags = ("--lr_ratio", f"sizes={ratio}") if ratio else ("--target_features", "features", "spatial_style")
            folder, _ = demo.search(f"sizes_{ratio}", *flags, model=model)
            rows += [[model, *row] for row in versions(demo, folder, ratio or "not free", model)]
    show("sizes", ["model", "ratio", *COLUMNS], rows)


def inversion(demo):
    """The decision term of the inversion."""
    rows = []
    real_pictures = torch.stack([torch.from_numpy(np.array(Image.open(path).convert("RGB"))).permute(2, 0, 1)
                                 for path in sorted(demo.val.glob("*.png"))[:SCENES]]).float() / 127.5 - 1
    truth = demo.judge.decide(measures_of(real_pictures))[:, : len(ATTRIBUTES)]
    for model in ("decision", "oracle"):
        for weight in ("0", "0.1", "1"):
            for perceptual in ("decision", "oracle"):
                folder, _ = demo.run(f"term_{weight}_{perceptual}_{model}", "--lambda_inv_decision_fm", weight,
                                     model=model, perceptual=perceptual)
                explained, gan = demo.model(model), read_blobgan(demo.gan, "cpu")
                metadata = [read_metadata(path) for _, path in metadata_files(folder)]
                shown = torch.cat([render(gan, each.blobs) for each in metadata])
                kept = (explained.decided(shown) == explained.decided(real_pictures)).float().mean()
                right = (demo.judge.decide(measures_of(shown))[:, : len(ATTRIBUTES)] == truth).mean()
                l1 = (shown - real_pictures).abs().mean()
                pairs = [Pairs(demo, folder, dense, model).numbers() for dense in (True, False)]
                rows.append([model, perceptual, weight, f"{l1:.3f}", f"{kept:.3f}", f"{right:.3f}",
                             *(f"{each.on_real:.2f}" for each in pairs), *(f"{each.truth:.2f}" for each in pairs)])
    show("inversion", ["model", "--perceptual", "decision term", "L1", "decisions kept", "judge right", "flips on real",
                       "sparse", "truth", "sparse"], rows)


TABLES = {each.__name__: each for each in (speed, sparse, bias, real, diverse, sizes, inversion)}


def main(folder, *names):
    """Print tables."""
    demo = Demo(folder)
    for name in names or TABLES:
        TABLES[name](demo)


if __name__ == "__main__":
    main(*sys.argv[1:])
