"""One batch: images inverted, reconstructions decided on, counterfactuals searched and made sparse, all measured."""

from dataclasses import replace
from typing import NamedTuple, Optional

import torch

from common import console
from common.blobs.metadata import Metadata
from common.blobs.perceptual import compare
from common.blobs.terms import image_distance
from common.networks.blobgan.layout import Blobs, select
from tools.blobex_inv_cf.collect import ALREADY, FAILED, Searched, collect
from tools.blobex_inv_cf.fast import Fast
from tools.blobex_inv_cf.goals import blobs_within, class_masks, make_pairs, region_mask, runner_up_pairs
from tools.blobex_inv_cf.inversion import InversionSettings, Matching, first_blobs, invert
from tools.blobex_inv_cf.search import Scene, search
from tools.blobex_inv_cf.sparse import sparsify


class Batch(NamedTuple):
    """What is known of a batch before the search. labels: names of the images, numbers of generated ones.  names: None
    for generated images.  marks: of their pixels.  targets: (B, 3, H, W) that were inverted, or the generated ones.
    start: Blobs.  encoded: pictures of the encoder's layouts, or None.  inversion: plain values about it.
    left_out: {name: why} of the unit's images that are not among them."""

    labels: list
    names: Optional[list]
    marks: list
    targets: torch.Tensor
    start: Blobs
    encoded: Optional[torch.Tensor]
    inversion: dict
    left_out: dict


class Start(NamedTuple):
    """What the model says of the pictures a search starts from: values (B, A), decided (B, A) bool, finite (B,) bool;
    lpips (B,) of the reconstructions, or None."""

    values: torch.Tensor
    decided: torch.Tensor
    finite: torch.Tensor
    lpips: Optional[torch.Tensor]


class Result(NamedTuple):
    """metadata: Metadata.  rows: [(label, pictures (B, 3, H, W))] of the snapshot."""

    metadata: Metadata
    rows: list


def chunked(function, blobs, size):
    """Return function(part) of Blobs, `size` rows at a time, as one tensor."""
    parts = [function(select(blobs, slice(first, first + size))) for first in range(0, len(blobs.xs), size)]
    return torch.cat(parts)


class Explainer:
    """Does batches, with the material and the settings of a run."""

    def __init__(self, material, options, settings, wanted):
        self.material, self.options, self.settings = material, options, settings
        self.wanted = wanted
        self.render, self.explained = material.gan.render, material.explained
        self.fast = Fast(material, options)

    def work_of_an_image(self):
        """Return how many rows an image makes: its inversion, and its pairs."""
        inverts = self.material.images is not None and not self.options.load_inversion
        pairs = 0 if self.options.inversion_only else self.wanted.count(self.options.joint)
        return max(inverts + pairs, 1)

    def prepare(self, first, last, advance):
        """Return the Batch of images [first, last)."""
        material, options = self.material, self.options
        if material.images is None:
            start = material.drawn(first, last)
            with torch.no_grad():
                pictures = chunked(self.render, start, options.bs)
            return Batch([str(number) for number in range(first, last)], None, [], pictures, start, None, {}, {})
        names, targets, marks, left_out = material.read(first, last)
        if not names:
            return Batch([], [], [], targets, self._mean(0), None, {}, left_out)
        if options.load_inversion:
            return Batch(names, names, marks, targets, material.inverted(names), None, {}, left_out)
        weights, fast = material.weights, self.fast
        matching = Matching(targets, weights, fast.perceptual, fast.features)
        start = first_blobs(material.gan, material.encoder, targets, options.init, matching)
        settings = InversionSettings(weights, options.lr_inv, 2.0, options.halve_inv_every, options.n_iters_inv,
                                     options.coarse, options.plateau, best=options.keep == "best")
        found = invert(fast.render, targets, start, settings, fast.perceptual, fast.features, advance)
        with torch.no_grad():
            encoded = None if options.init == "mean" else chunked(self.render, start, options.bs)
        about = {"evaluations": found.evaluations.tolist(),
                 "objective": [value if value < float("inf") else None for value in found.objective.tolist()]}
        return Batch(names, names, marks, targets, found.blobs, encoded, about, left_out)

    def _mean(self, count):
        gan = self.material.gan
        with torch.no_grad():
            return gan.decode(gan.mean_latent()[None].expand(count, -1))

    @torch.no_grad()
    def _begin(self, batch):
        """Return (Batch, pictures, Start): where blobs or their pictures are not finite the mean layout takes their
        place, which is not a start of a search; each is named in a note."""
        pictures = chunked(self.render, batch.start, self.options.bs)
        everything = torch.arange(len(pictures), device=pictures.device)
        seen = self.seen(pictures, batch, everything, pictures)
        values = self.explained.values(seen)
        finite = pictures.flatten(1).isfinite().all(dim=1) & values.isfinite().all(dim=1)
        for part in batch.start:
            finite &= part.flatten(1).isfinite().all(dim=1)
        if not bool(finite.all()):
            for row in (~finite).nonzero()[:, 0].tolist():
                console.say(f"note: {batch.labels[row]}: its blobs or their picture are not finite; it is not searched")
            usual = self._mean(len(pictures))
            batch = batch._replace(start=Blobs(*(torch.where(finite.reshape(-1, *[1] * (part.dim() - 1)), part, mean)
                                                 for part, mean in zip(batch.start, usual))))
            pictures = chunked(self.render, batch.start, self.options.bs)
            seen = self.seen(pictures, batch, everything, pictures)
            values = torch.nan_to_num(self.explained.values(seen))
        if batch.names is None:
            batch = batch._replace(targets=pictures)
        start = Start(values, self.explained.decided(seen), finite, self.lpips(pictures, batch))
        return batch, pictures, start

    def explain(self, batch, advance):
        """Return the Result of a Batch."""
        if not batch.labels:
            empty = torch.zeros(0, len(self.explained.names))
            return Result(Metadata(batch.names, batch.start, None, empty, {}, self._extra(batch, [], [])), [])
        batch, pictures, start = self._begin(batch)
        with torch.no_grad():  # what changes are measured from, as the search renders it
            begun = pictures if self.fast.is_exact else chunked(self.fast.render, batch.start, self.options.bs)
        scene = Scene(self.fast.render, lambda images, numbers: self.fast.values(
            self.seen(images, batch, numbers, begun)), batch.start, pictures)
        bad = [batch.labels[row] for row in (~start.finite).nonzero()[:, 0].tolist()]
        extra = self._extra(batch, image_distance(pictures, batch.targets).tolist(), bad)
        rows = [] if batch.names is None else [("real", batch.targets)]
        rows += [] if batch.encoded is None else [("enc", torch.nan_to_num(batch.encoded))]
        rows.append(("query" if batch.names is None else "reconstr", pictures))
        attributes = {} if self.options.inversion_only else self._search(batch, scene, start, extra, rows, advance)
        return Result(Metadata(batch.names, batch.start, start.lpips, self.explained.scores(start.values), attributes,
                               extra), rows)

    def _extra(self, batch, distances, bad):
        """Return what a metadata file holds beside the published keys."""
        return {"version": 1, "names": list(self.explained.names), "labels": batch.labels, "marks": batch.marks,
                "inversion": batch.inversion, "attributes": {}, "reconstruction_l1": distances,
                "search_on": self.options.search_on, "left_out": batch.left_out, "not_finite": bad}

    def seen(self, images, batch, numbers, pictures):
        """Return the pictures that the model decides on: those of the blobs, or the change on the real ones.

        images: (R, 3, H, W), belonging to the batch's of these numbers (R,).  pictures: the batch's reconstructions.
        """
        if self.options.search_on == "real" and batch.names is not None:
            return self.on_real(images, batch, numbers, pictures)
        return images

    @staticmethod
    def on_real(images, batch, numbers, pictures):
        """Return the real pictures with the change from the reconstructions, clipped to [-1, 1]."""
        return (batch.targets[numbers] + images - pictures[numbers]).clamp(-1, 1)

    @torch.no_grad()
    def lpips(self, images, batch, numbers=None):
        """Return the perceptual distance (R,) of pictures to the targets, None without a network or real images."""
        if self.material.perceptual is None or batch.names is None:
            return None
        targets, size = batch.targets if numbers is None else batch.targets[numbers], self.options.bs
        return torch.cat([compare(self.material.perceptual, one, two)
                          for one, two in zip(images.split(size), targets.split(size))])

    def _search(self, batch, scene, start, extra, rows, advance):
        """Search all pairs of a batch; return {number: Counterfactuals}."""
        options, wanted = self.options, self.wanted
        if wanted.runner_up:
            pairs, already = runner_up_pairs(start.values), []
        else:
            pairs, already = make_pairs(start.decided, wanted.chosen, wanted.targets, options.joint,
                                        options.search_anyway)
        finite = start.finite.tolist()
        passed = [Searched(pair, outcome=ALREADY if finite[pair.image] else FAILED) for pair in already]
        passed += [Searched(pair, outcome=FAILED) for pair in pairs if not finite[pair.image]]
        pairs = [pair for pair in pairs if finite[pair.image]]
        if options.num_diverse > 1:
            from tools.blobex_inv_cf.several import explain_several

            return explain_several(self, batch, scene, start, pairs, passed, extra, rows, advance)[0]
        searched = []
        for settings, members in self.groups(batch, scene, pairs):
            own = [pairs[member] for member in members]
            found = search(scene, own, settings, options.bs, advance)
            sparse = self._sparse(scene, own, found, settings)
            searched += [Searched(*each) for each in zip(own, found, sparse)]
        there = {each.pair for each in searched}
        searched += [Searched(pair) for pair in pairs if pair not in there]  # no blob lies in the region
        searched = sorted([*searched, *passed], key=lambda each: each.pair[:2])
        return collect(self, batch, scene, start, searched, extra, rows)[0]

    def _sparse(self, scene, pairs, found, settings):
        """Return (Blobs, evaluations) of each that flipped, else None."""
        options, sparse = self.options, [None] * len(pairs)
        if options.sparse == "off":
            return sparse
        flipped = [number for number, each in enumerate(found) if each.logit > 0]
        made = sparsify(scene, [pairs[number] for number in flipped], [found[number] for number in flipped], settings,
                        options.sparse_margin, options.bs, options.sparse)
        for number, each in zip(flipped, made):
            sparse[number] = each
        return sparse

    def groups(self, batch, scene, pairs):
        """Return [(settings, numbers of pairs)]: one, or one for each choice of blobs by region or class."""
        if self.options.target_region:
            mask = region_mask(self.options.target_region, self.material.gan.generator.size)
        elif self.options.target_classes:
            mask = class_masks(self.material.segmentation, batch.targets, self.material.gan.generator.size)
        else:
            return [(self.settings, list(range(len(pairs))))] if pairs else []
        chosen = blobs_within(self.material.gan.generator, scene.start, mask.to(scene.pictures.device))
        groups = {}
        for number, pair in enumerate(pairs):
            groups.setdefault(tuple(chosen[pair.image]), []).append(number)
        return [(replace(self.settings, targets=blobs), members) for blobs, members in groups.items() if blobs]
