"""Which decisions a search wants: flips, or those of --target, of chosen objectives; which blobs may change."""

import re
from typing import NamedTuple

import torch

from common.errors import InputError
from tools.blobex_inv_cf.problem import Pair

RUNNER_UP = "runner-up"
ANYWHERE = 0.1  # of a blob's weight that has to lie in a region for the blob to belong to it


def objective_number(word, names, where):
    """Return the number of an objective that a word names: its name, its number, or class=5's 5."""
    word = str(word)
    if word in names:
        return list(names).index(word)
    if re.fullmatch(r"\d+", word) and int(word) < len(names):
        return int(word)
    raise InputError(f"no objective '{word}'", where=where, do=f"Pass one of {', '.join(names)}, or its number")


class Wanted(NamedTuple):
    """chosen: numbers of the objectives that are searched.  targets: {number: 1 or -1}, what --target wants.
    runner_up: of each image the class of the second highest value alone is wanted."""

    chosen: list
    targets: dict
    runner_up: bool = False

    def count(self, joint):
        """Return how many pairs an image makes."""
        return 1 if joint or self.runner_up else len(self.chosen)


def wanted(options, names, is_classes=False):
    """Return the Wanted of the flags. is_classes: the objectives are classes of which one is decided on."""
    targets, everything = {}, list(range(len(names)))
    chosen = [objective_number(word, names, "--target_attributes") for word in options.target_attributes]
    if list(options.target) == [RUNNER_UP] or (is_classes and not options.target and not chosen):
        if not is_classes or chosen or options.joint or len(names) < 2:
            raise InputError("needs a model of two or more classes, and no other choice",
                             where=f"--target {RUNNER_UP}", do="Pass decisions, such as NAME=1")
        return Wanted(everything, {}, True)
    for word in options.target:
        name, equals, value = word.rpartition("=")  # a name may have such a sign, too
        if name == "class" and equals and "class" not in names:
            name, value = value, "1"
        if value not in ("0", "1"):
            raise InputError("expected NAME=0, NAME=1 or class=NUMBER", where=f"--target {word}",
                             do="Correct the value")
        number = objective_number(name, names, "--target")
        if number in targets:
            raise InputError(f"'{names[number]}' is named twice", where="--target", do="Name it once")
        targets[number] = 1 if value == "1" else -1
    if targets and chosen:
        raise InputError("names objectives, as --target does", where="--target_attributes", do="Pass one of them")
    if options.joint and len(targets) < 2:
        raise InputError("needs at least two decisions", where="--joint", do="Pass them with --target")
    return Wanted(list(dict.fromkeys(chosen)) or sorted(targets) or everything, targets)


def pair_name(pair, names):
    """Return what a pair is about: its objective's name, or all decisions that it wants at once."""
    goals = [(name, sign) for name, sign in zip(names, pair.goal) if sign]
    if len(goals) == 1:
        return goals[0][0]
    return " ".join(f"{name}={int(sign > 0)}" for name, sign in goals)


def runner_up_pairs(values):
    """Return the Pairs of a batch that want each picture's class of the second highest value. values: (B, A)."""
    pairs = []
    for image, attribute in enumerate(values.topk(2, dim=1).indices[:, 1].tolist()):
        pairs.append(Pair(image, attribute, tuple(int(number == attribute) for number in range(values.shape[1]))))
    return pairs


def make_pairs(decided, chosen, targets, joint=False, search_anyway=False):
    """Return (pairs, already): the Pairs of a batch, and those whose decision is as wanted, which are not searched.

    decided: (B, A) bool, of the pictures that the search begins with.
    """
    pairs, already, count = [], [], decided.shape[1]
    for image, row in enumerate(decided.tolist()):
        if joint:
            goals = [(min(targets), tuple(targets.get(number, 0) for number in range(count)))]
        else:
            signs = {number: targets.get(number, -1 if row[number] else 1) for number in chosen}
            goals = [(number, tuple(signs[number] if other == number else 0 for other in range(count)))
                     for number in chosen]
        for attribute, goal in goals:
            is_there = all(not sign or row[number] == (sign > 0) for number, sign in enumerate(goal))
            (already if is_there and not search_anyway else pairs).append(Pair(image, attribute, goal))
    return pairs, already


def check_blobs(targets, count):
    """Return the numbers of --target_blob, each once; InputError for one that the model has not."""
    wrong = [number for number in targets if number >= count]
    if wrong:
        raise InputError(f"the model has blobs 0 to {count - 1}", where=f"--target_blob {wrong[0]}",
                         do="Correct the number; `blobex_inv_cf blobs` draws them")
    return tuple(sorted(set(targets)))


def region_mask(region, side):
    """Return (1, side, side) bool, the pixels of a region: (x0, y0, x1, y1), shares of the canvas."""
    places = (torch.arange(side) + 0.5) / side
    across = (places >= region[0]) & (places <= region[2])
    down = (places >= region[1]) & (places <= region[3])
    return (down[:, None] & across)[None]


@torch.no_grad()
def class_masks(segmentation, images, side):
    """Return (B, side, side), how much of each place of pictures (B, 3, H, W) a segmentation's chosen classes take."""
    labels = segmentation.outputs(images).argmax(dim=1)
    inside = torch.zeros_like(labels, dtype=torch.bool)
    for objective in segmentation.objectives:
        inside |= labels == objective.index
    return torch.nn.functional.adaptive_avg_pool2d(inside.to(images.dtype)[:, None], side)[:, 0]


@torch.no_grad()
def blobs_within(generator, blobs, mask):
    """Return the numbers of the blobs of each picture of which a share of the weight lies in a mask, lists of int.

    mask: (B or 1, S, S), S the side of the generator's square grid of scores.
    """
    shares = generator.splat(blobs).pyramid[generator.size][:, 1:]  # (B, K, S, S)
    inside = (shares * mask[:, None]).sum(dim=(2, 3))
    return [row.nonzero()[:, 0].tolist() for row in (inside > ANYWHERE * shares.sum(dim=(2, 3)))]
