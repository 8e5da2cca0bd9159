"""The networks as inversions and searches run them: in the --precision of the flags, the generator compiled or not.

What is written in the end is measured without: pictures, scores, decisions and distances are float32.
"""

import torch

from common.device import autocast


class Fast:
    """render, values, features, perceptual: as of the Material, whose networks these are."""

    def __init__(self, material, options):
        self.precision, self.device, self.explained = options.precision, material.device, material.explained
        self.generator = material.gan.generator
        self.make = torch.compile(self.generator) if options.compile else self.generator
        self.perceptual = None if material.perceptual is None else _Perceptual(material.perceptual, self)

    @property
    def is_exact(self):
        """Whether pictures are those that the generator itself renders."""
        return self.precision != "bf16" and self.make is self.generator

    def render(self, blobs):
        """Return pictures of Blobs; they are splatted in float32."""
        splatted = self.generator.splat(blobs)
        with self.context():
            pictures = self.make(splatted, self.generator.fixed_noise())
        return pictures.to(blobs.sizes.dtype)

    def values(self, images):
        """Return the explained model's values of pictures."""
        with self.context():
            found = self.explained.values(images)
        return found.to(images.dtype)

    def features(self, images):
        """Return the explained model's features of pictures."""
        with self.context():
            found = self.explained.features(images)
        return found.to(images.dtype)

    def context(self):
        """Return the context that networks run in."""
        return autocast(self.device, self.precision)


class _Perceptual:
    """A perceptual distance whose network runs in the precision; its maps are compared in that of the pictures."""

    def __init__(self, own, fast):
        self.own, self.fast = own, fast

    def features(self, images):
        with self.fast.context():
            maps = self.own.features(images)
        return [part.to(images.dtype) for part in maps]

    def distance(self, first, second):
        return self.own.distance(first, second)
