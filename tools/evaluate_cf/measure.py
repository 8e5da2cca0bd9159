"""What is measured of each pair, from the stored blobs by rendering and forward passes."""

import numpy as np
import torch

from common.blobs.changes import changed_blobs, revert
from common.blobs.perceptual import compare
from common.blobs.search import flipped
from common.blobs.terms import image_distance, rows_mean
from common.metrics.counterfactual import cout
from common.networks.blobgan.layout import Blobs, select

STILL = 1e-2  # change of a pixel, in [-1, 1], summed over the channels, below which it counts as the same


class Measurer:
    """Measures the pairs of a batch, in parts of batch_size."""

    def __init__(self, material, options):
        self.material, self.options = material, options
        self.render, self.explained = material.gan.render, material.explained

    @torch.no_grad()
    def in_parts(self, function, *inputs):
        """Return function of the inputs, rows of Blobs or tensors, batch_size at a time."""
        size, count = self.options.batch_size, len(inputs[-1][0] if isinstance(inputs[-1], Blobs) else inputs[-1])

        def part(value, rows):
            return select(value, rows) if isinstance(value, Blobs) else value[rows]

        return torch.cat([function(*(part(value, slice(first, first + size)) for value in inputs))
                          for first in range(0, count, size)])

    def scores(self, model, pictures):
        """Return a model's probabilities (N, A) of pictures."""
        return self.in_parts(lambda part: model.scores(model.values(part)), pictures)

    def batch(self, metadata, targets):
        """Return [{column: value}], a line for each pair of a batch, and its pictures by attribute."""
        device = self.material.device
        start = Blobs(*(part.to(device) for part in metadata.blobs))
        before = self.in_parts(self.render, start)
        seen = {"before": self.scores(self.explained, before),
                "oracles": [self.scores(oracle, before) for oracle in self.material.oracles]}
        lines, pictures = [], {}
        for attribute, found in sorted(metadata.attributes.items()):
            blobs = self._version(metadata, attribute, found)
            several = blobs.xs.dim() == 3
            for number in range(len(blobs.xs) if several else 1):
                own = Blobs(*(part[number] for part in blobs)) if several else blobs
                own = Blobs(*(part.to(device) for part in own))
                after = self.in_parts(self.render, own)
                pictures[attribute, number] = after
                lines += self._pairs(metadata, targets, attribute, number, start, own, before, after, seen)
        return lines, pictures, before

    def _version(self, metadata, attribute, found):
        """Return the Blobs of an attribute: the sparse ones, or those before where they are stored."""
        entry = metadata.extra.get("attributes", {}).get(attribute, {})
        if self.options.sparse or "blob_cf" not in entry:
            return found.blobs
        return Blobs(*(entry["blob_cf"][name].float() for name in Blobs._fields))

    def _pairs(self, metadata, targets, attribute, number, start, own, before, after, seen):
        scores = self.scores(self.explained, after)
        flips = flipped(seen["before"], scores, published=self.options.rule == "published")[:, attribute]
        columns = {"l1": image_distance(after, before), "blobs_changed": changed_blobs(own, start).sum(dim=1),
                   "pixels_changed": rows_mean(((after - before).abs().sum(dim=1) > STILL).float()),
                   "start_score": seen["before"][:, attribute], "score": scores[:, attribute], "flip": flips}
        columns |= {f"change_{name}": rows_mean((now - then).abs()) for name, now, then in
                    zip(Blobs._fields, own, start)}
        goals = seen["before"][:, attribute] < 0.5
        columns["finite"] = after.flatten(1).isfinite().all(dim=1)
        if targets is not None:
            shown = (targets + after - before).clamp(-1, 1)
            on_real = self.scores(self.explained, shown)[:, attribute]
            columns |= {"flip_on_real": (on_real > 0.5) == goals, "score_on_real": on_real,
                        "l1_to_real": image_distance(after, targets)}
            if self.material.perceptual is not None:
                distance = self.in_parts(lambda one, two: compare(self.material.perceptual, one, two), after, targets)
                columns[self.material.perceptual.name] = distance
        for place, oracle in enumerate(self.material.oracles):
            columns |= self._oracle(place, oracle, seen["oracles"][place], after, attribute, goals)
        if self.options.cout:
            columns["cout"] = self._cout(before, after, attribute, goals)
        if self.options.redundancy:
            columns["redundancy"] = self._redundancy(own, start, attribute, goals)
        return self._lines(metadata, attribute, number, columns)

    def _oracle(self, place, oracle, before, after, attribute, goals):
        """Return the columns of an oracle: does it see the flip, how many of its decisions changed, others kept."""
        scores, suffix = self.scores(oracle, after), "" if place == 0 else f"_{place + 1}"
        changed = (before > 0.5) != (scores > 0.5)
        others = changed.sum(dim=1) - changed[:, attribute].long()
        return {f"oracle_flip{suffix}": (scores[:, attribute] > 0.5) == goals,
                f"oracle_changed{suffix}": changed.sum(dim=1), f"oracle_kept{suffix}": others == 0,
                f"oracle_before{suffix}": before, f"oracle_after{suffix}": scores}

    def _cout(self, before, after, attribute, goals):
        def probability(pictures):
            score = self.scores(self.explained, pictures)[:, attribute]
            target = torch.where(goals[: len(score)], score, 1 - score)
            return torch.stack([target, 1 - target], dim=1)

        return torch.from_numpy(cout(probability, before, after))

    def _redundancy(self, own, start, attribute, goals):
        """Return how many changed blobs of each pair alone can go back while the decision stays (B,)."""
        found = torch.zeros(len(goals), dtype=torch.int64)
        moved = changed_blobs(own, start)
        for row in range(len(goals)):
            one, two = (select(blobs, slice(row, row + 1)) for blobs in (own, start))
            for blob in moved[row].nonzero()[:, 0].tolist():
                trial = revert(one, two, blob)
                if trial is not None:
                    score = self.scores(self.explained, self.in_parts(self.render, trial))[0, attribute]
                    found[row] += bool((score > 0.5) == goals[row])
        return found

    def _lines(self, metadata, attribute, number, columns):
        plain = {name: value.detach().cpu().numpy() for name, value in columns.items()}
        searched = {str(line.get("image")): line for line in
                    metadata.extra.get("attributes", {}).get(attribute, {}).get("pairs", [])
                    if isinstance(line, dict) and line.get("number", 0) in (0, number)}
        lines, labels = [], labels_of(metadata)
        for row in range(len(metadata.blobs.xs)):
            image = labels[row]
            stored = searched.get(image, {})
            line = {name: value[row].tolist() for name, value in plain.items()}
            outcome = stored.get("outcome")
            outcome = outcome if outcome in ("already", "failed") else "flipped" if line["flip"] else "not_found"
            lines.append({"image": image, "attribute": attribute, "name": self.explained.names[attribute],
                          "number": number, "outcome": outcome, "evaluations": stored.get("evaluations"), **line})
        return lines


def labels_of(metadata):
    """Return the names of a batch's images, of generated ones their numbers."""
    stored = metadata.extra.get("labels")
    if metadata.names is None and isinstance(stored, list) and len(stored) == len(metadata.blobs.xs):
        return list(map(str, stored))
    return metadata.names or [str(row) for row in range(len(metadata.blobs.xs))]


def add_truth(lines, truth, names):
    """Add to lines what is known of the pictures: whether the attribute is as the decision says, and others kept."""
    for line in lines:
        before, after = truth.get((line["image"], None)), truth.get((line["image"], line["attribute"]))
        if before is None or after is None or line["outcome"] == "already":
            continue
        attribute = line["attribute"]
        goal = line["start_score"] < 0.5
        line["truth_started"] = before[attribute] != goal
        line["truth_flip"] = after[attribute] == goal
        line["truth_kept"] = all(before[other] == after[other] for other in range(len(names)) if other != attribute)


def arrays_of(lines, name):
    """Return a column (N,) or (N, A) of lines."""
    return np.array([line[name] for line in lines])
