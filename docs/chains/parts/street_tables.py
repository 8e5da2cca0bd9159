"""Tables of the demo of the counterfactuals.

    python -m docs.chains.parts.street_tables best FOLDER
    python -m docs.chains.parts.street_tables demo FOLDER

best: prints the path of the BlobGAN's checkpoint that is nearest to held-out scenes.
demo: writes FOLDER/table_models.csv (accuracy of each decision model on held-out scenes; for the light also where the
sky goes with it and where it does not), table_distance.csv (the distance to held-out scenes by step),
table_scenes.csv (in what share of real and of generated scenes the judge sees each thing), real_and_drawn.png: a row of
held-out scenes above two of drawn ones, and summary.json, what the scenes show.
"""

import csv
import json
import sys
from pathlib import Path

import numpy as np
from PIL import Image

from common.console import say
from common.formats.tables import write_table
from common.images.grids import save_grid
from common.record import RECORD, read_record
from common.summary import Quantity, figures, summary, write_summary
from docs.chains.parts.streets import COINS, measure, read_judge

MODELS = ("decision", "oracle", "biased")
THINGS = {"green light": ("green", True), "red light": ("green", False), "obstacle ahead": ("ahead", True),
          "obstacle left": ("left", True), "obstacle right": ("right", True), "warm sky": ("warm", True)}


SHARES = (Quantity("real", "of held-out scenes", "%", scale=100),
          Quantity("drawn", "of generated scenes", "%", scale=100))
CAPTIONS = (("real_and_drawn.png", "held-out scenes above drawn ones"), ("scenes.png", "made scenes"))


def results(folder):
    """Return the results of a run."""
    return read_record(folder / RECORD)["results"]


def read_truth(path):
    """Return bool (n, 5) of a truth.csv."""
    with open(path, newline="") as table:
        return np.array([[row[name] == "1" for name in COINS] for row in csv.DictReader(table)])


def model_rows(folder):
    """Return a row (name, accuracy of each attribute, of green where the sky agrees and disagrees) for each model."""
    truth = read_truth(folder / ".scenes" / "val" / "truth.csv")
    agrees = truth[:, COINS.index("green")] == truth[:, COINS.index("warm")]
    rows = []
    for name in MODELS:
        with np.load(folder / name / "held_out.npz") as held_out:
            right = (held_out["logits"] > 0) == (held_out["truth"] > 0.5)
        shares = [*right.mean(axis=0), right[agrees, 0].mean(), right[~agrees, 0].mean()]
        rows.append([name, *(f"{share:.4f}" for share in shares)])
    return rows


def distances(folder):
    """Return {step: distance to held-out scenes} of a training of the BlobGAN."""
    lines = (json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines())
    return {line["step"]: line["train/fid"] for line in lines if line.get("train/fid") is not None}


def read_scenes(folder):
    """Return a folder's pictures, uint8 (n, H, W, 3), in the order of their names."""
    return np.stack([np.asarray(Image.open(path).convert("RGB")) for path in sorted(folder.glob("*.png"))])


def seen(judge, scenes):
    """Return {thing: share of scenes in which the judge sees it}."""
    decided = judge.decide(measure(scenes))
    return {thing: (decided[:, COINS.index(name)] == side).mean() for thing, (name, side) in THINGS.items()}


def demo(folder):
    """Write the tables, and say what they show."""
    write_table(folder / "table_models.csv", ["model", *COINS[:4], "green, sky agrees", "green, sky disagrees"],
                model_rows(folder))
    fids = distances(folder / "gan")
    write_table(folder / "table_distance.csv", ["step", "distance"],
                [[str(step), f"{fid:.3f}"] for step, fid in fids.items()])
    judge = read_judge(folder / ".scenes" / "judge.json")
    scenes = [read_scenes(place) for place in (folder / ".scenes" / "val", folder / ".drawn" / "imgs")]
    real, drawn = (seen(judge, pictures) for pictures in scenes)
    write_table(folder / "table_scenes.csv", ["seen", "real", "drawn"],
                [[thing, f"{real[thing]:.3f}", f"{drawn[thing]:.3f}"] for thing in THINGS])
    save_grid(folder / "real_and_drawn.png", np.concatenate([scenes[0][:16], scenes[1][:32]]), columns=16, scale=2)
    rows = []
    for thing in THINGS:
        shares = {"real": float(real[thing]), "drawn": float(drawn[thing])}
        errors = {f"{name}_se": (share * (1 - share) / len(pictures)) ** 0.5
                  for (name, share), pictures in zip(shares.items(), scenes)}
        rows.append((thing, figures(shares | errors, SHARES)))
    write_summary(folder, summary("Share of scenes in which the judge sees each thing", rows, "measurement",
                                  f"Rarest in drawn scenes: {min(drawn, key=drawn.get)}, in {min(drawn.values()):.1%}.",
                                  CAPTIONS))
    step = min(fids, key=fids.get)
    say(f"distance to held-out scenes: {fids[min(fids)]:.2f} at step {min(fids)}, {fids[step]:.2f} of the checkpoint "
        f"that stays (step {step}); rarest in drawn scenes: {min(drawn, key=drawn.get)}, in {min(drawn.values()):.1%}")


def main(what, folder):
    """Print the path, or make the tables."""
    if what == "best":
        print(results(Path(folder) / "gan")["best_checkpoint"])
    else:
        demo(Path(folder))


if __name__ == "__main__":
    main(*sys.argv[1:])
