"""Tiny trainings: pictures of 16 x 24 px with a red left side or a green lower right corner, and their table."""

import json

import numpy as np
from PIL import Image

from common.formats.tables import write_table
from tests.tools.commands import results_of, start_tool

NAMES = ("red", "green")
TINY = ("--csv", "train/truth.csv", "--val_csv", "val/truth.csv", "--arch", "small", "--width", "4", "--batch_size",
        "8", "--steps", "24", "--log_every", "1", "--val_interval", "5", "--save_interval", "4", "--num_workers", "0",
        "--device", "cpu")
AUGMENTED = ("--blur", "1", "--gain", "0.3", "--shift", "0.2", "--smooth_noise", "0.25", "--white_noise", "0.1",
             "--flip")


def picture(red, green, number, size=(16, 24)):
    """Return uint8 (H, W, 3): grey noise, with what the two attributes say."""
    height, width = size
    pixels = np.random.default_rng(number).integers(60, 120, (height, width, 3)).astype(np.uint8)
    pixels[:, : width // 2, 0] += 90 * red
    pixels[height // 2 :, width // 2 :, 1] += 90 * green
    return pixels


def write_pictures(folder, count, first=0):
    """Write pictures and truth.csv into a folder."""
    folder.mkdir(parents=True)
    rows = []
    for number in range(first, first + count):
        red, green = number % 2, number // 2 % 2
        Image.fromarray(picture(red, green, number)).save(folder / f"{number:03}.png")
        rows.append([f"{number:03}.png", red, green])
    write_table(folder / "truth.csv", ["file", *NAMES], rows)


def write_material(folder):
    """Write train/ (40 pictures) and val/ (21)."""
    write_pictures(folder / "train", 40)
    write_pictures(folder / "val", 21, first=100)


def write_bddoia(folder):
    """Write a BDD-OIA of 12 training and 8 held-out images: ids shuffled, one image missing, one confused, categories
    of four and of five entries, reasons in another order. Returns {split: {file name: labels}} of those to be read."""
    truth, draws = {}, np.random.default_rng(3)
    (folder / "data").mkdir(parents=True)
    for split, count in (("train", 12), ("val", 8)):
        names = [f"{split}_{number:02}.jpg" for number in range(count)]
        ids = draws.permutation(count).tolist()
        labels = [[int(number >> bit & 1) for bit in range(4)] for number in range(count)]
        annotations = [None] * count
        for number, (place, label) in enumerate(zip(ids, labels)):
            fifth = {2: [0], 3: [1], 5: [0]}.get(number, [])  # 3 is confused
            annotations[place] = {"category": label + fifth, "id": place}
            if number != 4:
                red, green, *_ = label
                Image.fromarray(picture(red, green, number)).save(folder / "data" / names[number], quality=95)
        images = [{"file_name": name, "id": place} for name, place in zip(names, ids)]
        draws.shuffle(images)
        (folder / f"{split}_25k_images_actions.json").write_text(json.dumps(
            {"images": images, "annotations": annotations, "info": {}}))
        reasons = [{"file_name": name, "reason": [int(number == bit) for bit in range(21)]}
                   for number, name in enumerate(names)]
        draws.shuffle(reasons)
        (folder / f"{split}_25k_images_reasons.json").write_text(json.dumps(reasons))
        truth[split] = {name: label for number, (name, label) in enumerate(zip(names, labels)) if number not in (3, 4)}
    return truth


def train(*words, out="out"):
    """Train in this process; returns the results."""
    return results_of("train_decision_model", *TINY, "--output_dir", out, *words)


def start(folder, *words):
    """Start a training in a process of its own, in a folder."""
    return start_tool("train_decision_model", folder, *TINY, *words)
