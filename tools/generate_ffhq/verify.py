"""Do the latents make the pictures? Each is made again from its style vectors alone, and from W+."""

import numpy as np

from common import console, parallel
from common.errors import InputError
from common.images.decode import decode

CLOSE = 1e-4  # of style vectors, relative to the largest; another processor's rounding stays far below it
ADVICE = "Restore the file, or remove it and run the same command again"


def verify(generation, record):
    """Return how many images were compared, in all processes; InputError naming the first file that does not agree.

    record: the finished record that made them, None when this very process did. Bytes are equal on the processor that
    made them; elsewhere pixels may be one level apart, and images of a GPU anywhere.
    """
    from common.device import describe

    machine = (record or {}).get("machine")
    exact = generation.device.type == "cpu" and machine in (None, describe(generation.device))
    numbers, factors = generation.layout.numbers, generation.layout.factors
    mine, failures = parallel.shard(numbers), []
    with console.progress("verifying", len(mine), unit="images", after=5) as advance:
        for number in mine:
            failures += _compare(generation, number, factors, exact)
            advance()
    failures = sorted(failure for part in parallel.gather_objects(failures) for failure in part)
    if failures:
        path, what = failures[0][1:]
        raise InputError(f"{what} ({len(failures):,} of {len(numbers) * len(factors):,} files do not agree)",
                         where=path, do=ADVICE)
    return len(numbers)


def _compare(generation, number, factors, exact):
    """Return [(number, path of the latents, what is wrong)] of an image's files."""
    made, failures = {}, []  # pictures by codes: the latents of all factors are mostly the same
    for factor in factors:
        path = generation.layout.latents(factor, number)
        try:
            _compare_file(generation, number, factor, made, exact)
        except InputError as error:
            failures.append((number, str(error.where or path), error.what))
    return failures


def _compare_file(generation, number, factor, made, exact):
    """Raise InputError when a latents file and its image do not agree."""
    from common.datasets.latents import read_latents
    from common.files import system_errors

    network, path, image = generation.network, generation.layout.latents(factor, number), \
        generation.layout.image(factor, number)
    latents = read_latents(path, sum(network.widths))
    for name, value in generation.recorded(number, factor).items():
        if latents.record.get(name) != value:
            raise InputError(f"'{name}' is {latents.record.get(name)}, expected {value}", where=path)
    if latents.wplus is None or latents.wplus.shape != (network.num_latents, network.config.style_dim):
        raise InputError("has no 'wplus' of this generator's shape", where=path)
    vectors = _style_vectors(generation, latents.wplus)
    apart = np.abs(vectors - latents.style_vectors)
    if apart.max() > CLOSE * (1 + np.abs(vectors).max()):
        raise InputError(f"'style_vectors' are not those of 'wplus': {apart.max():.3g} apart at number "
                         f"{apart.argmax()}", where=path)
    with system_errors(image):
        stored = decode(image.read_bytes(), image)
    for name, codes in (("style_vectors", latents.style_vectors), ("wplus", vectors)):
        key = codes.tobytes()
        if key not in made:
            made[key] = _render(generation, number, codes)
        if _levels_apart(generation.seen(made[key], factor), stored) > (0 if exact else 1):
            raise InputError(f"'{name}' does not give {image.name}", where=path)


def _style_vectors(generation, wplus):
    """Return the StyleSpace code (D,) of a W+ code, by itself."""
    import torch

    with torch.inference_mode():
        codes = torch.from_numpy(wplus)[None].to(generation.device)
        return generation.network.style_vectors(codes)[0].cpu().numpy()


def _render(generation, number, codes):
    import torch

    with torch.inference_mode():
        return generation.render([number], torch.from_numpy(codes)[None].to(generation.device))[0]


def _levels_apart(pixels, stored):
    """Return the largest difference of two uint8 images; 256 where their sizes differ."""
    if pixels.shape != stored.shape:
        return 256
    return int(np.abs(pixels.astype(np.int16) - stored).max())
