"""Tiny trainings: images of three plain colours, a network of a few thousand parameters."""

import json
from pathlib import Path

import numpy as np

from tests.tools.commands import Ended, results_of, start_tool

NETWORK = ("--resolution", "8", "--model_channels", "16", "--channel_mult", "1", "2", "--channel_mult_emb", "2",
           "--num_blocks", "1", "--attn_resolutions", "0")
TINY = (*NETWORK, "--npz_dir", "colours", "--class_map", "none", "--class_balanced", "--steps", "24", "--batch_size",
        "8",
        "--warmup", "5", "--save_every", "5", "--log_every", "1", "--samples_per_class", "2", "--sample_steps", "3",
        "--device", "cpu")
COLOURS = np.array([[230, 40, 40], [40, 200, 60], [30, 60, 220]])


def write_colours(folder, each=6, side=8, parts=2):
    """Write npz batches of plain colours with a little noise; labels 1, 2, 3."""
    folder.mkdir(parents=True)
    labels = np.tile(np.arange(1, 4), each)
    noise = np.random.default_rng(0).integers(-20, 21, (len(labels), 3, side, side))
    pixels = (COLOURS[labels - 1][:, :, None, None] + noise).clip(0, 255).astype(np.uint8)
    for number, rows in enumerate(np.array_split(np.arange(len(labels)), parts), 1):
        np.savez(folder / f"train_data_batch_{number}.npz", data=pixels[rows].reshape(len(rows), -1),
                 labels=labels[rows])


def train(*words, out="out"):
    """Train in this process; returns the results."""
    return results_of("train_edm", *TINY, "--output_dir", out, *words)


def start(folder, *words):
    """Start a training in a process of its own, in a folder."""
    return start_tool("train_edm", folder, *TINY, *words)


def end(process):
    """Return how a started process Ended."""
    out, err = process.communicate(timeout=300)
    return Ended(process.returncode, out, err)


def contents(folder):
    """Return {name: bytes} of all files below a folder but those that hold times."""
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in sorted(Path(folder).rglob("*"))
            if path.is_file() and path.name not in ("run.json", "log.jsonl")}


def log_rows(folder="out"):
    """Return the rows of log.jsonl without times."""
    rows = [json.loads(line) for line in (Path(folder) / "log.jsonl").read_text().splitlines()]
    return [{name: value for name, value in row.items() if name not in ("seconds", "images_per_second")}
            for row in rows]
