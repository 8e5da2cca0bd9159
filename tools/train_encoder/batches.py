"""The rows of training batches: noise of generated pictures, and real pictures, from (seed, step, row) alone."""

from typing import NamedTuple, Optional

import torch

from common.networks.blobgan.splat import Jitter
from common.seeding import unit_generator, unit_numpy

HELD_OUT = "held out"  # in place of a step's number: rows that no training step has


class Draws(NamedTuple):
    """What the rows of a part are made from, all on the CPU; None where the flags or terms ask for none.

    z: (n, noise_dim).  truncation: (n,).  real: pictures (n, 3, H, W) in [-1, 1].
    jitters: uniform draws in [0, 1) (n, 3, 4, K), of a generated picture, its reconstruction, a real one's.
    noise: [(n, 3, h, w)], the maps of these three.
    """

    z: Optional[torch.Tensor] = None
    truncation: Optional[torch.Tensor] = None
    real: Optional[torch.Tensor] = None
    jitters: Optional[torch.Tensor] = None
    noise: Optional[list] = None

    def packed(self):
        """Return a flat tuple of tensors, which the loop moves to the device; empty ones stand for None."""
        return tuple(torch.empty(0) if part is None else part for part in self[:4]) + tuple(self.noise or ())

    @classmethod
    def unpacked(cls, parts):
        """Return the Draws of such a tuple."""
        return cls(*(part if part.numel() else None for part in parts[:4]), list(parts[4:]) or None)


class Batches:
    """gan: the BlobGAN.  sides: which of real and fake pictures are needed.  images: a prepared.Rows, or None."""

    def __init__(self, options, gan, sides, images=None):
        self.seed, self.images, self.sides = options.seed, images, sides
        self.truncation = options.truncation_min, options.truncation_max
        self.noise_dim, self.num_blobs = gan.config.noise_dim, gan.num_blobs
        self.jitters = gan.config.jitter if options.jitter else Jitter()
        self.maps = gan.generator.noise_shapes() if options.noise == "fresh" else ()

    def draw(self, step, first, last):
        """Return the packed Draws of rows [first, last) of a step."""
        real = self.images(step, first, last) if "real" in self.sides else None
        return self.draws(step, range(first, last), real).packed()

    def draws(self, step, rows, real=None):
        """Return the Draws of rows of a step; real: their real pictures."""
        fake = "fake" in self.sides
        z = self._normal("z", step, rows, [(self.noise_dim,)])[0] if fake else None
        jitters = noise = truncation = None
        if fake and self.truncation[1]:
            shares = [unit_numpy(self.seed, "truncation", step, row).uniform(*self.truncation) for row in rows]
            truncation = torch.tensor(shares, dtype=torch.float32)
        if any(self.jitters):
            jitters = torch.stack([torch.rand(3, 4, self.num_blobs, generator=unit_generator(self.seed, "jitter", step,
                                                                                              row)) for row in rows])
        if self.maps:
            noise = self._normal("noise", step, rows, [(3, *shape[2:]) for shape in self.maps])
        return Draws(z, truncation, real, jitters, noise)

    def _normal(self, stream, step, rows, shapes):
        """Return [normal draws (n, *shape)] of rows, each row's shapes from one generator in turn."""
        found = []
        for row in rows:
            generator = unit_generator(self.seed, stream, step, row)
            found.append([torch.randn(shape, generator=generator) for shape in shapes])
        return [torch.stack(parts) for parts in zip(*found)]


ROLES = {"target": 0, "fake": 1, "real": 2}  # of draws for three pictures a row


class Renderer:
    """Renders the pictures of a part with its own draws. gan: the BlobGAN."""

    def __init__(self, gan, jitters, draws):
        self.gan, self.jitters, self.draws = gan, jitters, draws

    def __call__(self, blobs, roles):
        """Return pictures (N, 3, H, W) of Blobs whose rows are those of `roles`, one after the other.

        roles: of ROLES; "target": generated pictures, "fake" and "real": reconstructions.
        """
        places, offsets, noise = [ROLES[role] for role in roles], None, None
        if self.draws.jitters is not None:
            uniform = torch.cat([self.draws.jitters[:, place] for place in places])  # (N, 4, K)
            offsets = self.jitters.scaled(uniform.movedim(1, 0))
        if self.draws.noise is not None:
            noise = [torch.cat([maps[:, place : place + 1] for place in places]) for maps in self.draws.noise]
        generator = self.gan.generator
        return generator(generator.splat(blobs, offsets), noise)
