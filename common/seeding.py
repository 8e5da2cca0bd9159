"""Random numbers by unit: unit i of a job draws from a generator made from (seed, stream, i) alone."""

import hashlib


def unit_seed(seed, *names):
    """Return the 63-bit seed of one unit, a hash of the job's seed and the unit's names (strings or integers)."""
    text = "/".join(str(name) for name in (seed, *names))
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "little") >> 1  # fits in int64


def unit_generator(seed, *names):
    """Return a CPU torch.Generator for one unit: the same draws at any batch size, shard, device or after a resume."""
    import torch

    return torch.Generator().manual_seed(unit_seed(seed, *names))


def unit_numpy(seed, *names):
    """Return a numpy Generator for one unit (permutations, choices)."""
    import numpy as np

    return np.random.default_rng(unit_seed(seed, *names))


def rademacher(shape, generator):
    """Return float32 signs +1/-1 of the given shape from a CPU generator."""
    import torch

    return torch.randint(0, 2, shape, generator=generator, dtype=torch.int8).float().mul_(2).sub_(1)
