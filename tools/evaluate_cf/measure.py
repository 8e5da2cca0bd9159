"""What is measured of each pair, from the stored blobs by rendering and forward passes."""

from typing import NamedTuple, Optional

import torch

from common.blobs.changes import changed_blobs, revert, scaled_offsets
from common.blobs.perceptual import compare
from common.blobs.search import flipped
from common.blobs.spread import spread_numbers
from common.blobs.terms import image_distance, rows_mean
from common.metrics.counterfactual import changed_attributes, cout
from common.networks.blobgan.layout import Blobs, cat, select
from common.networks.decision_networks import KINDS
from tools.evaluate_cf.folder import dense_version, labels_of, reached, stored_lines

STILL = 1e-2  # change of a pixel, in [-1, 1], summed over the channels, below which it counts as the same
LOW_RATE = 1 / 8  # of the rate of sizes: that of the other tensors, as published
NOT_ASKED = "not_asked"  # outcome of a row whose image was searched for other attributes alone, as of many classes
SEARCHED = ("evaluations", "sparse_evaluations")  # columns of the search's own lines that are summed


class Part(NamedTuple):
    """One attribute's counterfactuals of a batch, `number` of several.

    blobs: Blobs.  pictures: (B, 3, H, W).  on_real: the change on the real pictures, None for generated ones.
    lines: a dictionary of columns for each image, those of NOT_ASKED included.
    """

    attribute: int
    number: int
    blobs: Blobs
    pictures: torch.Tensor
    on_real: Optional[torch.Tensor]
    lines: list


class Batch(NamedTuple):
    """A batch before its counterfactuals. labels: names of images.  targets: images, the reconstructions themselves
    for generated ones.  before: reconstructions.  seen: what the search's model saw of them, with --search_on real the
    real pictures.  decided: (B, A) bool, the explained model's decisions on these; scores, of_oracles: (B, A).
    """

    path: object
    metadata: object
    labels: list
    start: Blobs
    targets: torch.Tensor
    before: torch.Tensor
    seen: torch.Tensor
    decided: torch.Tensor
    scores: torch.Tensor
    of_oracles: list


class Measurer:
    """Measures the pairs of a batch, in parts of batch_size."""

    def __init__(self, material, options):
        self.material, self.options = material, options
        self.render, self.explained = material.gan.render, material.explained
        self.ratios = dict.fromkeys(Blobs._fields, LOW_RATE) | {"sizes": 1.0}
        for word in material.folder.option("lr_ratio", []):
            name, _, value = str(word).partition("=")
            if name in self.ratios and float(value) > 0:
                self.ratios[name] = float(value)

    @torch.no_grad()
    def in_parts(self, function, *inputs):
        """Return function of the inputs, rows of Blobs or tensors, batch_size at a time."""
        size, count = self.options.batch_size, len(inputs[0].xs if isinstance(inputs[0], Blobs) else inputs[0])

        def part(value, rows):
            return select(value, rows) if isinstance(value, Blobs) else value[rows]

        return torch.cat([function(*(part(value, slice(first, first + size)) for value in inputs))
                          for first in range(0, count, size)])

    def scores(self, model, pictures):
        """Return what is shown of a model's decisions (N, A) on pictures: probabilities, of most objectives."""
        return self.in_parts(lambda part: model.scores(model.values(part)), pictures)

    def decided(self, pictures):
        """Return the explained model's decisions (N, A) bool."""
        return self.in_parts(self.explained.decided, pictures)

    def prepare(self, first, path, metadata):
        """Return the Batch of a file. first: number of its first image."""
        start = Blobs(*(part.to(self.material.device) for part in metadata.blobs))
        targets, before = self.material.targets(metadata), self.in_parts(self.render, start)
        targets = before if targets is None else targets
        seen = targets if self.material.on_real else before
        return Batch(path, metadata, labels_of(metadata, first), start, targets, before, seen, self.decided(seen),
                     self.scores(self.explained, seen),
                     [self.scores(oracle.model, seen) for oracle in self.material.oracles])

    def parts(self, batch):
        """Yield the Parts of a Batch."""
        metadata = batch.metadata
        for attribute, found in sorted(metadata.attributes.items()):
            blobs, scores = found.blobs, found.scores
            if not self.options.sparse:
                blobs, scores = dense_version(metadata, attribute, batch.path)
            several = blobs.xs.dim() == 3
            count, parts = len(blobs.xs) if several else 1, []
            for number in range(count):
                own = Blobs(*(part[number] for part in blobs)) if several else blobs
                stored = scores[number] if several and scores is not None else scores
                parts.append(self._part(batch, attribute, number, own, stored))
            if several and count > 1:
                self._spread(batch, parts)
            yield from parts

    def _part(self, batch, attribute, number, blobs, stored):
        blobs = Blobs(*(part.to(self.material.device) for part in blobs))
        after, on_real = self.in_parts(self.render, blobs), None
        if batch.metadata.names is not None:
            on_real = (batch.targets + after - batch.before).clamp(-1, 1)
        searched = stored_lines(batch.metadata, attribute, batch.labels, number)
        goals = self.material.goals.of(batch.decided, attribute, searched)
        columns = self._columns(batch, attribute, blobs, after, on_real, goals)
        self._compare_scores(batch, attribute, stored, columns)
        lines = self._lines(batch, attribute, number, searched, goals, columns)
        return Part(attribute, number, blobs, after, on_real, lines)

    def _columns(self, batch, attribute, blobs, after, on_real, goals):
        """Return {column: tensor (B,) or (B, A)}."""
        start, before = batch.start, batch.before
        judged = on_real if self.material.on_real else after
        finite, scores = after.flatten(1).isfinite().all(dim=1), self.scores(self.explained, judged)
        flips = reached(self.decided(judged), goals) & ~reached(batch.decided, goals) & finite
        columns = {"flip": flips, "is_there": reached(batch.decided, goals), "finite": finite,
                   "start_score": batch.scores[:, attribute], "score": scores[:, attribute],
                   "l1": image_distance(after, before), "blobs_changed": changed_blobs(blobs, start).sum(dim=1),
                   "pixels_changed": rows_mean(((after - before).abs().sum(dim=1) > STILL).float())}
        columns |= {f"change_{name}": rows_mean((now - then).abs()) for name, now, then in
                    zip(Blobs._fields, blobs, start)}
        if on_real is not None:
            columns |= {"flip_on_real": reached(self.decided(on_real), goals),
                        "score_on_real": self.scores(self.explained, on_real)[:, attribute],
                        "l1_to_real": image_distance(after, batch.targets)}
        if self.material.similarity is not None:
            columns["similarity"] = self.in_parts(self.material.similarity, after, before)
            if on_real is not None:
                columns["similarity_to_real"] = self.in_parts(self.material.similarity, after, batch.targets)
        if self.material.perceptual is not None:
            columns[self.material.perceptual.name] = self.in_parts(self._perceptual, after, batch.targets)
        for place, oracle in enumerate(self.material.oracles):
            columns |= self._oracle(place, oracle, batch.of_oracles[place], judged, attribute, goals)
        if self.options.cout:
            columns["cout"] = self._cout(batch.seen, judged, attribute, goals)
        if self.options.redundancy:
            columns["redundancy"] = self._redundancy(batch, blobs, goals, flips)
        return columns | {"scores_before": batch.scores, "scores_after": scores}

    def _perceptual(self, one, two):
        return compare(self.material.perceptual, one, two)

    def _oracle(self, place, oracle, before, judged, attribute, goals):
        """Return the columns of an oracle: does it see the flip, how many of its decisions changed, others kept."""
        after, suffix, own = self.scores(oracle.model, judged), "" if place == 0 else f"_{place + 1}", oracle.columns
        seen, then = after[:, own] > 0.5, before[:, own] > 0.5
        count = changed_attributes(before[:, own].cpu().numpy(), after[:, own].cpu().numpy())
        return {f"oracle_flip{suffix}": reached(seen, goals), f"oracle_changed{suffix}": torch.from_numpy(count),
                f"oracle_kept{suffix}": ~((seen != then) & (goals == 0)).any(dim=1),
                f"oracle_before{suffix}": before, f"oracle_after{suffix}": after}

    def _cout(self, before, after, attribute, goals):
        wanted = goals[:, attribute] > 0

        def probability(pictures):
            yes = self.in_parts(lambda part: self.explained.values(part)[:, attribute].sigmoid(), pictures)
            target = torch.where(wanted, yes, 1 - yes)
            return torch.stack([target, 1 - target], dim=1)

        return torch.from_numpy(cout(probability, before, after))

    def _redundancy(self, batch, blobs, goals, flips):
        """Return how many changed blobs of each flip alone can go back while the decision stays (B,)."""
        found = torch.zeros(len(goals), dtype=torch.int64)
        moved = changed_blobs(blobs, batch.start)
        for row in flips.nonzero()[:, 0].tolist():
            one, two = (select(each, slice(row, row + 1)) for each in (blobs, batch.start))
            trials = [trial for trial in (revert(one, two, blob) for blob in moved[row].nonzero()[:, 0].tolist())
                      if trial is not None]
            if trials:
                shown = self.in_parts(self.render, cat(trials))
                if self.material.on_real:
                    shown = (batch.targets[row] + shown - batch.before[row]).clamp(-1, 1)
                stay = reached(self.decided(shown), goals[row : row + 1].expand(len(trials), -1))
                found[row] = int(stay.sum())
        return found

    def _compare_scores(self, batch, attribute, stored, columns):
        """Add what the file says of the pair: does it say that it flipped, and how far its scores are from those of the
        pictures rendered here."""
        first = batch.metadata.scores
        if first is not None and first.shape == columns["scores_before"].shape:
            columns["start_difference"] = (first - columns["scores_before"].cpu()).abs().amax(dim=1)
        if stored is None or first is None or stored.shape != first.shape:
            return
        columns["difference"] = (stored - columns["scores_after"].cpu()).abs().amax(dim=1)
        if self.explained.description["kind"] not in KINDS:
            return  # shares and counts have thresholds of their own
        columns["stored_flip"] = flipped(first, stored)[:, attribute]
        columns["published_flip"] = flipped(first, stored, published=True)[:, attribute]

    def _spread(self, batch, parts):
        """Add to the lines of several counterfactuals how different they are, one number for all of an image."""
        perceptual = self.material.perceptual
        offsets = torch.stack([scaled_offsets(part.blobs, batch.start, self.ratios) for part in parts], dim=1)
        for row in range(len(batch.labels)):
            pictures = torch.stack([part.pictures[row] for part in parts])
            numbers = spread_numbers(pictures, batch.before[row], offsets[row])
            if perceptual is not None:
                first, second = torch.triu_indices(len(parts), len(parts), offset=1)
                distances = self.in_parts(self._perceptual, pictures[first], pictures[second])
                numbers[f"pairwise_{perceptual.name}"] = float(distances.mean())
            everyone = all(part.lines[row]["flip"] for part in parts)
            for part in parts:
                part.lines[row] |= {**numbers, "all_flip": everyone}

    def _lines(self, batch, attribute, number, searched, goals, columns):
        plain = {name: value.detach().cpu().numpy() for name, value in columns.items()}
        lines, named = [], any(searched)
        for row, image in enumerate(batch.labels):
            line, stored = {name: value[row].tolist() for name, value in plain.items()}, searched[row]
            finite, is_there = line.pop("finite"), line.pop("is_there")
            failed = stored.get("outcome") == "failed" or not finite
            outcome = NOT_ASKED if named and not stored else "failed" if failed else "already" if is_there \
                else "flipped" if line["flip"] else "not_found"
            line["flip"] = outcome == "flipped"
            spent = [stored.get(name) for name in SEARCHED[: 1 + self.options.sparse]]
            known = [value for value in spent if isinstance(value, int)]
            lines.append({"image": image, "attribute": attribute, "name": self.explained.names[attribute],
                          "number": number, "outcome": outcome, "target": int(goals[row, attribute] > 0),
                          "evaluations": sum(known) if known and outcome != "already" else None, **line})
        return lines
