"""Which decisions a search wants: flips, or those of --target, of chosen objectives; which blobs may change."""

import re

import torch

from common.errors import InputError
from tools.blobex_inv_cf.problem import Pair

ANYWHERE = 0.1  # of a blob's weight that has to lie in a region for the blob to belong to it


def objective_number(word, names, where):
    """Return the number of an objective that a word names: its name, its number, or class=5's 5."""
    word = str(word)
    if word in names:
        return list(names).index(word)
    if re.fullmatch(r"\d+", word) and int(word) < len(names):
        return int(word)
    raise InputError(f"no objective '{word}'", where=where, do=f"Pass one of {', '.join(names)}, or its number")


def wanted(options, names):
    """Return ([numbers of the objectives that are searched], {number: 1 or -1 that --target wants})."""
    targets = {}
    for word in options.target:
        name, equals, value = word.partition("=")
        if name == "class" and equals:
            name, value = value, "1"
        if value not in ("0", "1"):
            raise InputError("expected NAME=0, NAME=1 or class=NUMBER", where=f"--target {word}",
                             do="Correct the value")
        number = objective_number(name, names, "--target")
        if number in targets:
            raise InputError(f"'{names[number]}' is named twice", where="--target", do="Name it once")
        targets[number] = 1 if value == "1" else -1
    chosen = [objective_number(word, names, "--target_attributes") for word in options.target_attributes]
    if targets and chosen:
        raise InputError("names objectives, as --target does", where="--target_attributes", do="Pass one of them")
    if options.joint and len(targets) < 2:
        raise InputError("needs at least two decisions", where="--joint", do="Pass them with --target")
    chosen = list(dict.fromkeys(chosen)) or sorted(targets) or list(range(len(names)))
    return chosen, targets


def make_pairs(values, chosen, targets, joint=False, search_anyway=False):
    """Return (pairs, already): the Pairs of a batch, and those whose decision is as wanted, which are not searched.

    values: (B, A), of the reconstructions. A value of 0 counts as no, as a probability of 1/2 does.
    """
    pairs, already, count = [], [], values.shape[1]
    decided = (values > 0).tolist()
    for image, row in enumerate(decided):
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


@torch.no_grad()
def blobs_within(generator, blobs, region):
    """Return the numbers of the blobs of each picture of which a share of the weight lies in a region, lists of int.

    region: (x0, y0, x1, y1), shares of the canvas.
    """
    shares = generator.splat(blobs).pyramid[generator.size][:, 1:]  # (B, K, S, S)
    side = shares.shape[-1]
    places = (torch.arange(side, device=shares.device) + 0.5) / side
    across = (places >= region[0]) & (places <= region[2])
    down = (places >= region[1]) & (places <= region[3])
    inside = (shares * (down[:, None] & across)).sum(dim=(2, 3))
    return [row.nonzero()[:, 0].tolist() for row in (inside > ANYWHERE * shares.sum(dim=(2, 3)))]
