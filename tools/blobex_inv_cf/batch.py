"""One batch: images inverted, reconstructions decided on, counterfactuals searched and made sparse, all measured."""

from typing import NamedTuple, Optional

import torch

from common import console
from common.blobs.metadata import Metadata
from common.blobs.perceptual import compare
from common.blobs.terms import image_distance
from common.networks.blobgan.layout import Blobs, select
from tools.blobex_inv_cf.collect import collect
from tools.blobex_inv_cf.goals import blobs_within, make_pairs
from tools.blobex_inv_cf.inversion import InversionSettings, Matching, first_blobs, invert
from tools.blobex_inv_cf.search import Scene, search
from tools.blobex_inv_cf.sparse import sparsify


class Batch(NamedTuple):
    """What is known of a batch before the search. labels: names of the images, numbers of generated ones.  names: None
    for generated images.  targets: (B, 3, H, W) that were
    inverted, or the generated ones.  start: Blobs.  encoded: pictures of the encoder's layouts, or None."""

    labels: list
    names: Optional[list]
    marks: list
    targets: torch.Tensor
    start: Blobs
    encoded: Optional[torch.Tensor]
    inversion: dict


class Result(NamedTuple):
    """metadata: Metadata.  rows: [(label, pictures (B, 3, H, W))] of the snapshot.  pairs: dictionaries, lines of
    pairs.csv."""

    metadata: Metadata
    rows: list
    pairs: list


def chunked(function, blobs, size):
    """Return function(part) of Blobs, `size` rows at a time, as one tensor."""
    parts = [function(select(blobs, slice(first, first + size))) for first in range(0, len(blobs.xs), size)]
    return torch.cat(parts)


class Explainer:
    """Does batches, with the material and the settings of a run."""

    def __init__(self, material, options, settings, chosen, targets):
        self.material, self.options, self.settings = material, options, settings
        self.chosen, self.targets = chosen, targets
        self.render, self.explained = material.gan.render, material.explained

    def prepare(self, first, last, advance):
        """Return the Batch of images [first, last)."""
        material, options = self.material, self.options
        if material.images is None:
            start = material.drawn(first, last)
            with torch.no_grad():
                pictures = chunked(self.render, start, options.bs)
            return Batch([str(number) for number in range(first, last)], None, [], pictures, start, None, {})
        names, targets, marks = material.read(first, last)
        if options.load_inversion:
            return Batch(names, names, marks, targets, material.inverted(names), None, {})
        weights, perceptual = material.weights, material.perceptual
        matching = Matching(targets, weights, perceptual, self.explained.features)
        encoder = None if material.encoder is None else material.encoder.network
        start = first_blobs(material.gan, encoder, targets, options.init, matching)
        settings = InversionSettings(weights, options.lr_inv, 2.0, options.halve_inv_every, options.n_iters_inv,
                                     options.coarse, options.plateau, best=options.keep == "best")
        found = invert(self.render, targets, start, settings, perceptual, self.explained.features, advance)
        with torch.no_grad():
            encoded = chunked(self.render, start, options.bs)
        about = {"evaluations": found.evaluations.tolist(), "objective": found.objective.tolist()}
        return Batch(names, names, marks, targets, self._whole(names, found.blobs), encoded, about)

    @torch.no_grad()
    def _whole(self, names, blobs):
        """Return Blobs whose pictures are finite: the mean layout in place of one that is not, named in a note."""
        pictures = chunked(self.render, blobs, self.options.bs)
        finite = pictures.flatten(1).isfinite().all(dim=1)
        for row in (~finite).nonzero()[:, 0].tolist():
            console.say(f"note: {names[row]}: its inversion is not finite; the mean layout takes its place")
        if bool(finite.all()):
            return blobs
        gan = self.material.gan
        mean = gan.layout_net.decode(gan.mean_latent()[None])
        return Blobs(*(torch.where(finite.reshape(-1, *[1] * (part.dim() - 1)), part, usual)
                       for part, usual in zip(blobs, mean)))

    def explain(self, batch, advance):
        """Return the Result of a Batch."""
        with torch.no_grad():
            pictures = chunked(self.render, batch.start, self.options.bs)
            values = self._values(pictures, batch, torch.arange(len(pictures), device=pictures.device))
        scene = Scene(self.render, lambda images, numbers: self._values(images, batch, numbers, pictures), batch.start,
                      pictures)
        extra = {"version": 1, "names": list(self.explained.names), "labels": batch.labels, "marks": batch.marks,
                 "inversion": batch.inversion, "attributes": {},
                 "reconstruction_l1": image_distance(pictures, batch.targets).tolist()}
        rows = [] if batch.names is None else [("real", batch.targets)]
        rows += [] if batch.encoded is None else [("enc", batch.encoded)]
        rows.append(("query" if batch.names is None else "reconstr", pictures))
        attributes, lines = {}, []
        if not self.options.inversion_only:
            attributes, lines = self._search(batch, scene, values, extra, rows, advance)
        metadata = Metadata(batch.names, batch.start, self.lpips(pictures, batch), self.explained.scores(values),
                            attributes, extra)
        return Result(metadata, rows, lines)

    def _values(self, images, batch, numbers, pictures=None):
        """Return what the model says of pictures of these image numbers: of themselves, or of real + change."""
        if self.options.search_on == "real" and batch.names is not None and pictures is not None:
            images = self.on_real(images, batch, numbers, pictures)
        return self.explained.values(images)

    @staticmethod
    def on_real(images, batch, numbers, pictures):
        """Return the real pictures with the change from the reconstructions, clipped to [-1, 1]."""
        return (batch.targets[numbers] + images - pictures[numbers]).clamp(-1, 1)

    @torch.no_grad()
    def lpips(self, images, batch, numbers=None):
        """Return the perceptual distance (R,) of pictures to the targets, None without a network or real images."""
        if self.material.perceptual is None or batch.names is None:
            return None
        targets = batch.targets if numbers is None else batch.targets[numbers]
        return compare(self.material.perceptual, images, targets)

    def _search(self, batch, scene, values, extra, rows, advance):
        """Search all pairs of a batch; return ({number: Counterfactuals}, lines of pairs.csv)."""
        options = self.options
        pairs, already = make_pairs(values, self.chosen, self.targets, options.joint, options.search_anyway)
        if options.num_diverse > 1:
            from tools.blobex_inv_cf.several import explain_several

            return explain_several(self, batch, scene, values, pairs, already, extra, rows, advance)
        found, sparse = [None] * len(pairs), [None] * len(pairs)
        for settings, members in self._groups(scene, pairs):
            own = [pairs[member] for member in members]
            for member, each in zip(members, search(scene, own, settings, options.bs, advance)):
                found[member] = each
            if options.sparse != "off":
                flipped = [member for member in members if found[member].logit > 0]
                made = sparsify(scene, [pairs[member] for member in flipped], [found[member] for member in flipped],
                                settings, options.sparse_margin, options.bs, options.sparse)
                for member, each in zip(flipped, made):
                    sparse[member] = each
        searched = [*zip(pairs, found, sparse), *((pair, None, None) for pair in already)]
        searched.sort(key=lambda each: each[0][:2])
        return collect(self, batch, scene, values, searched, extra, rows)

    def _groups(self, scene, pairs):
        """Return [(settings, numbers of pairs)]: one, or one for each choice of blobs by --target_region."""
        if not self.options.target_region:
            return [(self.settings, list(range(len(pairs))))]
        from dataclasses import replace

        chosen = blobs_within(self.material.gan.generator, scene.start, self.options.target_region)
        groups = {}
        for number, pair in enumerate(pairs):
            groups.setdefault(tuple(chosen[pair.image]), []).append(number)
        return [(replace(self.settings, targets=blobs), members) for blobs, members in groups.items() if blobs]
