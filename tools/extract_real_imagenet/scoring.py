"""Scores of images for percentile selection: a CSV column, or each image's denoising error."""

import hashlib
import json

from common.errors import InputError

PART = 2048  # images per cache file; a killed run loses at most one


def find_scores(options, source, network, weights, wanted):
    """Return scores (N,) float64, NaN for images without one: from --scores, a CSV or `denoise`.

    wanted: (N,) bool, the images that can be chosen; others are NaN.
    """
    import numpy as np

    if options.scores == "denoise":
        return denoising_errors(options, source, network, weights, np.flatnonzero(wanted))
    return np.where(wanted, read_scores(options.scores, options.score_column, source), np.nan)


def denoising_errors(options, source, network, weights, numbers):
    """Return (N,) float64: the mean over pixels of (D(x + sigma n; sigma) - x)^2 of the images `numbers`, else NaN.

    sigma is --score_sigma; image i draws its noise from (seed, i) alone. Processes share the parts, which stay in the
    cache (GENPROBE_CACHE/imagenet_scores): a killed run resumes, and other percentiles cost nothing.
    """
    import numpy as np

    from common import console, parallel
    from common.files import read_npz, write_npz
    from common.paths import cache_dir

    shaping = [weights["sha256"], source.identity(), options.score_sigma, options.seed, options.label_mode,
               options.preprocess, options.resize, network.config.img_resolution]
    key = hashlib.sha256(json.dumps(shaping, sort_keys=True, default=str).encode()).hexdigest()[:24]
    parts = []
    for start in range(0, len(numbers), PART):
        chosen = numbers[start : start + PART]
        name = hashlib.sha256(chosen.astype("<i8").tobytes()).hexdigest()[:24]
        parts.append((cache_dir() / "imagenet_scores" / key / f"{name}.npz", chosen))
    mine = parallel.shard([part for part in parts if not part[0].exists()])
    parallel.barrier()  # all have looked before any writes
    if mine:
        source.prepare(numbers)
    with console.progress("scoring", sum(len(chosen) for _, chosen in mine), unit="images") as advance:
        for path, chosen in mine:
            write_npz(path, compressed=False, score=_errors(options, source, network, chosen, advance))
    parallel.barrier()
    scores = np.full(len(source), np.nan)
    for path, chosen in parts:
        scores[chosen] = read_npz(path, required=("score",))["score"]
    return scores


def _errors(options, source, network, numbers, advance):
    """Return (n,) float64 errors; NaN for images that cannot be read."""
    import numpy as np
    import torch

    from common.activations.capture import label_vectors
    from common.seeding import unit_generator

    device, config = next(network.parameters()).device, network.config
    errors = np.full(len(numbers), np.nan)
    for start in range(0, len(numbers), options.batch_size):
        chosen = numbers[start : start + options.batch_size]
        batch = source.load(chosen, config.img_resolution)
        if batch.rows:
            read = chosen[batch.rows]
            x = torch.from_numpy(batch.pixels).to(device).float() / 127.5 - 1
            draws = [torch.randn(x.shape[1:], generator=unit_generator(options.seed, "score_noise", int(number)))
                     for number in read]
            with torch.inference_mode():
                labels = label_vectors(source.classes[read], options.label_mode, config.label_dim, device)
                denoised = network(x + options.score_sigma * torch.stack(draws).to(device), options.score_sigma, labels)
                error = (denoised - x).double().square().flatten(1).mean(dim=1)
            errors[start + np.array(batch.rows)] = error.cpu().numpy()
        advance(len(chosen))
    return errors


def read_scores(path, column, source):
    """Return scores (N,) float64, NaN where the file has none, from a CSV with `column` and original_path or index.

    Raises InputError for missing columns, values that are not numbers, and a file that scores none of the images.
    """
    import numpy as np

    from common.errors import nearest
    from common.formats.tables import read_records

    scores = np.full(len(source), np.nan)
    names, rows = read_records(path)
    key = next((name for name in ("index", "original_path") if name in names), None)
    if column not in names or key is None:
        missing = f"no column '{column}'" if column not in names else "no column 'index' or 'original_path'"
        raise InputError(missing, where=path, do=nearest(column, names) if names else "Give a CSV with a header")
    places = {} if key == "index" else {source.title(number): number for number in range(len(source))}
    scored = set()
    for line, row in enumerate(rows, 2):  # line 1 is the header
        try:
            number = int(row[key]) if key == "index" else places.get(row[key], -1)
            value = float(row[column])
        except (TypeError, ValueError) as error:
            raise InputError(f"line {line}: not a number ({error})", where=path, do="Correct the file") from error
        if number in scored:
            raise InputError(f"line {line}: a second score of {row[key]}", where=path, do="Keep one of them")
        if 0 <= number < len(scores):
            scored.add(number)
            scores[number] = value
    if np.isnan(scores).all():
        raise InputError("no row matches an image", where=path,
                         do="Name images as original_path in dataset_info.json does")
    return scores
