"""Made street scenes whose truth is known, and a judge of scenes that no network has a part in.

    python -m docs.chains.parts.streets make FOLDER [ASPECT]
    python -m docs.chains.parts.streets judge FOLDER PICTURES

A scene is 32 x 32 (32 x 64 with ASPECT 2): sky, grass, a road of three lanes and a traffic light. Five fair coins,
independent of each other, are its truth: green (light green, else red), ahead, left, right (an obstacle in that lane),
warm (sky warm, else cold). All else (tints, places, kinds and colours of obstacles, noise) is drawn apart from them.
Scene n depends on the seed and on n alone.

make: FOLDER/train/ (scenes 0 to 7999), FOLDER/val/ (8000 to 9999), PNG, each with truth.csv; train/biased.csv: the
scenes of train in which the sky is warm where the light is green and nowhere else; FOLDER/judge.json: the judge's
thresholds; FOLDER/scenes.png: 64 scenes.
judge: prints in what share of a folder's pictures the judge sees each thing, and how large its measures are.
"""

import json
import sys
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image

from common.files import write_json, write_text
from common.images.grids import save_grid
from common.seeding import unit_numpy

SIDE, TRAIN, VAL = 32, 8000, 2000
COINS = ("green", "ahead", "left", "right", "warm")
CLASSES = ("sky", "grass", "road", "light", "obstacle")  # of pixels
LANES = {"left": 6, "ahead": 16, "right": 26}  # centres
HORIZON, NOISE, PEDESTRIANS = 12, 0.01, 0.3
COLD, WARM = (np.array(colour, np.float32) for colour in ((0.45, 0.65, 0.92), (0.95, 0.72, 0.5)))
MILD = 0.35  # a cold sky goes so far towards the warmest at most, a warm one so far towards the coldest
GRASS, ROAD, DARK = (0.25, 0.5, 0.2), (0.42, 0.42, 0.42), (0.1, 0.1, 0.12)
LIGHTS = np.array([(0.95, 0.15, 0.12), (0.12, 0.9, 0.3)], np.float32)  # red, green
CARS = np.array([(0.95, 0.85, 0.15), (0.95, 0.95, 0.95), (0.15, 0.25, 0.9), (0.9, 0.15, 0.75)], np.float32)
CLOTHES = np.array([(0.9, 0.4, 0.1), (0.1, 0.75, 0.8)], np.float32)
DRAWS = 41  # numbers in [0, 1) of a scene: its coins, 9 of tints, 2 of the light, 8 a lane, the warmth of the sky


class Judge(NamedTuple):
    """What is read from pixels, and where it is cut: midway between the medians of real scenes without and with.

    low, high: (5,) medians of the measures of scenes where the coin shows 0 and 1.
    """

    low: np.ndarray
    high: np.ndarray

    def decide(self, measures):
        """Return bool (n, 5) of measures (n, 5): whether each coin is seen to show 1."""
        return measures > (self.low + self.high) / 2

    def shares(self, measures):
        """Return measures (n, 5) as shares of the gap between both kinds of real scenes: 0 is low, 1 is high."""
        return (measures - self.low) / (self.high - self.low)


def measure(pixels):
    """Return the judge's raw measures float32 (n, 5), in the order of COINS, of scenes uint8 (n, 32, 32 r, 3).

    green: mean of the 8 largest differences green minus red in the top 12 rows, less the same of red minus green.
    Lanes: mean of the 12 largest distances to the colour of the road in front, inside the lane's box.
    warm: median of red minus blue in the top 10 rows.
    """
    images = pixels.astype(np.float32) / 255
    aspect = images.shape[2] // SIDE
    excess = (images[:, :HORIZON, :, 1] - images[:, :HORIZON, :, 0]).reshape(len(images), -1)
    road = images[:, 29:31, 14 * aspect : 18 * aspect].mean(axis=(1, 2))
    distances = np.sqrt(np.square(images - road[:, None, None]).sum(axis=3))
    boxes = {name: distances[:, 19:26, (centre - 4) * aspect : (centre + 4) * aspect].reshape(len(images), -1)
             for name, centre in LANES.items()}
    columns = {name: largest(box, 12) for name, box in boxes.items()}
    columns["green"] = largest(excess, 8) - largest(-excess, 8)
    columns["warm"] = np.median((images[:, :10, :, 0] - images[:, :10, :, 2]).reshape(len(images), -1), axis=1)
    return np.stack([columns[name] for name in COINS], axis=1)


def largest(values, count):
    """Return (n,), the mean of the `count` largest of each row of values (n, m)."""
    return np.partition(values, -count, axis=1)[:, -count:].mean(axis=1)


def fit_judge(pixels, truth):
    """Return the Judge whose thresholds lie midway between the medians of both kinds of these scenes."""
    measures = measure(pixels)
    low, high = (np.array([np.median(measures[truth[:, coin] == side, coin]) for coin in range(len(COINS))])
                 for side in (False, True))
    return Judge(low, high)


def read_judge(path):
    """Return the Judge of a file judge.json."""
    stored = json.loads(Path(path).read_text())
    return Judge(*(np.array([stored[name][side] for name in COINS]) for side in ("low", "high")))


def scenes(seed, numbers, aspect=1):
    """Return (uint8 (n, 32, 32 aspect, 3), truth bool (n, 5)) of the scenes of these numbers."""
    generators = [unit_numpy(seed, "street", number) for number in numbers]
    draws = np.stack([generator.random(DRAWS, np.float32) for generator in generators])
    truth = draws[:, : len(COINS)] < 0.5
    images = np.stack([generator.standard_normal((SIDE, SIDE * aspect, 3), np.float32) for generator in generators])
    images *= NOISE
    images += paint(truth, draws[:, len(COINS) :], aspect)
    return (np.clip(images, 0, 1) * 255).round().astype(np.uint8), truth


def paint(truth, draws, aspect):
    """Return the scenes without noise, float32 (n, 32, 32 aspect, 3) in [0, 1]; draws: (n, 36) in [0, 1)."""
    images = None
    for _, rows, inside, colours in layers(truth, draws, aspect):
        if images is None:  # the sky
            images = np.repeat(np.repeat(colours[:, None, None], SIDE, axis=1), SIDE * aspect, axis=2)
        else:
            images[rows] = cover(images[rows], inside, colours)
    return images


def segments(seed, numbers, aspect=1):
    """Return the classes of the pixels of scenes, uint8 (n, 32, 32 aspect): numbers of CLASSES."""
    draws = np.stack([unit_numpy(seed, "street", number).random(DRAWS, np.float32) for number in numbers])
    found = np.zeros((len(numbers), SIDE, SIDE * aspect), np.uint8)
    for name, rows, inside, _ in layers(draws[:, : len(COINS)] < 0.5, draws[:, len(COINS) :], aspect):
        if inside is not None:
            found[rows] = np.where(inside > 0, CLASSES.index(name), found[rows])
    return found


def layers(truth, draws, aspect):
    """Yield (class, numbers of the scenes, how far each of their pixels lies inside, colours) from back to front; the
    first is the sky, which is everywhere."""
    y, x = np.meshgrid(np.arange(SIDE) + 0.5, np.arange(SIDE * aspect) + 0.5, indexing="ij")
    y, x = y.astype(np.float32)[None], x.astype(np.float32)[None]
    coin, every = dict(zip(COINS, truth.T)), np.arange(len(truth))
    tints = (draws[:, :9].reshape(-1, 3, 3) - 0.5) * np.array([0.04, 0.12, 0.12], np.float32)[:, None]
    tints[:, 2] = tints[:, 2, :1]  # the road is grey
    warmth = MILD * draws[:, 35]
    sky = COLD + np.where(coin["warm"], 1 - warmth, warmth)[:, None] * (WARM - COLD) + tints[:, 0]
    yield "sky", every, None, sky
    yield "grass", every, np.repeat(y - HORIZON, len(every), axis=0), GRASS + tints[:, 1]
    half = (6 + 1.6 * (y - HORIZON)) * aspect  # of the road, which is as wide as the picture from row 19 on
    road = np.minimum(y - HORIZON, half - np.abs(x - SIDE * aspect / 2))
    yield "road", every, np.repeat(road, len(every), axis=0), ROAD + tints[:, 2]
    place = (8 + 16 * draws[:, 9]) * aspect, 5 + 2 * draws[:, 10]
    yield "light", every, box(x, y, *place, 6, 6), DARK
    lamp = 2.4 - np.hypot(x - column(place[0]), y - column(place[1]))
    yield "light", every, lamp, LIGHTS[coin["green"].astype(int)]
    for number, (name, centre) in enumerate(LANES.items()):
        rows = np.flatnonzero(coin[name])
        mine = draws[rows, 11 + 8 * number : 19 + 8 * number]
        for inside, colours in obstacle(x, y, centre * aspect, mine, aspect, name != "ahead"):
            yield "obstacle", rows, inside, colours


def obstacle(x, y, centre, draws, aspect, outer):
    """Yield (inside, colours) of a car in the lane, or in an outer one with chance PEDESTRIANS of somebody there."""
    walks = (draws[:, 0] < PEDESTRIANS) & outer
    stretch = 1 if aspect == 1 else 1.5  # of objects, in a scene that is twice as wide
    x_centre, y_centre = centre + 2 * (draws[:, 1] - 0.5) * aspect, 22 + 2 * (draws[:, 2] - 0.5)
    width = np.where(walks, 4, 8 + (draws[:, 3] - 0.5)) * stretch
    height = np.where(walks, 8, 6 + (draws[:, 4] - 0.5))
    colours = np.where(walks[:, None], CLOTHES[(draws[:, 5] * len(CLOTHES)).astype(int)],
                       CARS[(draws[:, 5] * len(CARS)).astype(int)])
    yield box(x, y, x_centre, y_centre, width, height), colours
    # A car's window; somebody's hair.
    yield (box(x, y, x_centre, np.where(walks, y_centre - 3, y_centre - 1.2), np.where(walks, 3, 5) * stretch,
               np.full(len(draws), 2)), DARK)


def column(values):
    """Return the values of n scenes as (n, 1, 1) beside a grid of pixels."""
    return np.asarray(values, np.float32).reshape(-1, 1, 1)


def box(x, y, x_centre, y_centre, width, height):
    """Return how far each pixel lies inside a rectangle, in pixels."""
    return np.minimum(column(width) / 2 - np.abs(x - column(x_centre)),
                      column(height) / 2 - np.abs(y - column(y_centre)))


def cover(images, inside, colours):
    """Paint images, in place, with colours (3,) or (n, 3) where `inside` (pixels within the shape) is positive, with
    soft edges; return them."""
    alpha = np.clip(inside + 0.5, 0, 1)[..., None]
    images += alpha * (np.asarray(colours, np.float32).reshape(-1, 1, 1, 3) - images)
    return images


def write_split(folder, numbers, seed, aspect):
    """Write scenes and truth.csv into a folder and return both as arrays."""
    folder.mkdir(parents=True, exist_ok=True)
    chunks = [scenes(seed, numbers[start : start + 500], aspect) for start in range(0, len(numbers), 500)]
    pixels, truth = (np.concatenate(arrays) for arrays in zip(*chunks))
    names = [f"{number:05d}.png" for number in numbers]
    for name, scene in zip(names, pixels):
        Image.fromarray(scene).save(folder / name, compress_level=1)
    write_text(folder / "truth.csv", table(names, truth))
    return names, pixels, truth


def table(names, truth):
    """Return a CSV file's text: a row a scene, a column a coin."""
    rows = [",".join([name, *map(str, row)]) for name, row in zip(names, truth.astype(int))]
    return "\n".join([",".join(["file", *COINS]), *rows]) + "\n"


def make(folder, aspect=1, seed=0):
    """Write what the first lines of this module say."""
    folder = Path(folder)
    names, pixels, truth = write_split(folder / "train", range(TRAIN), seed, aspect)
    write_split(folder / "val", range(TRAIN, TRAIN + VAL), seed, aspect)
    biased = np.flatnonzero(truth[:, COINS.index("green")] == truth[:, COINS.index("warm")])
    write_text(folder / "train" / "biased.csv", table([names[row] for row in biased], truth[biased]))
    save_grid(folder / "scenes.png", pixels[:64], columns=16, scale=2)
    judge = fit_judge(pixels, truth)
    # Last: where it is there, everything is.
    write_json(folder / "judge.json", {name: {"low": float(low), "high": float(high)}
                                       for name, low, high in zip(COINS, judge.low, judge.high)})


def judged(folder, pictures):
    """Print for each coin in what share of the pictures it is seen, and its mean measure as a share of the gap."""
    paths = sorted(Path(pictures).glob("*.png"))
    measures = measure(np.stack([np.asarray(Image.open(path).convert("RGB")) for path in paths]))
    judge = read_judge(Path(folder) / "judge.json")
    print(f"| of {len(paths)} pictures | seen in | mean measure |\n| --- | --- | --- |")
    for name, seen, share in zip(COINS, judge.decide(measures).mean(axis=0), judge.shares(measures).mean(axis=0)):
        print(f"| {name} | {seen:.3f} | {share:.2f} |")


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["make", folder, *aspect]:
            make(folder, *map(int, aspect))
        case ["judge", folder, pictures]:
            judged(folder, pictures)
        case _:
            sys.exit("usage: make FOLDER [ASPECT] | judge FOLDER PICTURES")
