"""Counterfactuals of made streets as the judge sees them, which no network has a part in.

    python -m docs.chains.parts.street_flips FOLDER

Writes, of FOLDER/counterfactuals, FOLDER/judged/truth.csv and truth_dense.csv, what the judge sees in the
reconstructions and in the counterfactuals, made sparse and before: what `evaluate_cf --truth` reads.
"""

import csv
import sys
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch

from common.blobs.metadata import metadata_files, read_metadata
from common.files import write_text
from common.images.pixels import to_uint8
from common.networks.blobgan.files import read_blobgan
from common.networks.blobgan.layout import Blobs
from common.record import RECORD, read_record
from docs.chains.parts.streets import COINS, measure, read_judge

ATTRIBUTES = COINS[:4]  # what the models decide
PART = 64  # pictures rendered at a time


class Flips(NamedTuple):
    """The pairs of a run.

    lines: of pairs.csv, {column: text}.  before, after: (N, 5) measures of reconstructions and counterfactuals.
    pictures: (N, 3, H, W) in [-1, 1], the counterfactuals.  sources: (N, 3, H, W), their reconstructions.
    """

    lines: list
    before: np.ndarray
    after: np.ndarray
    pictures: torch.Tensor
    sources: torch.Tensor


def render(gan, blobs):
    """Return the pictures (N, 3, H, W) of Blobs."""
    with torch.no_grad():
        parts = [gan.render(Blobs(*(part[first : first + PART] for part in blobs)))
                 for first in range(0, len(blobs.xs), PART)]
    return torch.cat(parts)


def measures_of(pictures):
    """Return the judge's measures (N, 5) of pictures (N, 3, H, W) in [-1, 1]."""
    return measure(to_uint8(pictures, "dmd2"))


def read_flips(folder, dense=False):
    """Return the Flips of a folder of blobex_inv_cf, dense: of the versions before they were made sparse."""
    folder = Path(folder)
    gan = read_blobgan(read_record(folder / RECORD)["options"]["blobgan_weights"], "cpu")
    with open(folder / "pairs.csv", newline="") as table:
        stored = {}
        for line in csv.DictReader(table):
            stored.setdefault((line["image"], int(line["attribute"])), []).append(line)
    lines, sources, pictures = [], [], []
    for _, path in metadata_files(folder):
        metadata = read_metadata(path)
        before = render(gan, metadata.blobs)
        for attribute, found in sorted(metadata.attributes.items()):
            blobs = found.blobs
            if dense:
                blobs = Blobs(**metadata.extra["attributes"][attribute].get("blob_cf", blobs._asdict()))
            versions = [blobs] if blobs.xs.dim() == 2 else [Blobs(*each) for each in zip(*blobs)]
            for number, version in enumerate(versions):
                pictures.append(render(gan, version))
                sources.append(before)
                lines += [stored[name, attribute][number] for name in metadata.names]
    pictures, sources = torch.cat(pictures), torch.cat(sources)
    return Flips(lines, measures_of(sources), measures_of(pictures), pictures, sources)


def truth_table(flips, judge):
    """Return the text of a table of known decisions: of the images (no attribute), and of their counterfactuals."""
    rows = {}
    for line, before, after in zip(flips.lines, judge.decide(flips.before), judge.decide(flips.after)):
        rows[line["image"], ""] = before
        rows[line["image"], line["attribute"]] = after
    text = [",".join([*key, *map(str, seen[: len(ATTRIBUTES)].astype(int))]) for key, seen in sorted(rows.items())]
    return "\n".join([",".join(["image", "attribute", *ATTRIBUTES]), *text]) + "\n"


def main(folder):
    """Write both tables."""
    folder = Path(folder)
    judge = read_judge(folder / ".scenes" / "judge.json")
    for name, dense in (("truth", False), ("truth_dense", True)):
        flips = read_flips(folder / "counterfactuals", dense)
        write_text(folder / "judged" / f"{name}.csv", truth_table(flips, judge))


if __name__ == "__main__":
    main(*sys.argv[1:])
