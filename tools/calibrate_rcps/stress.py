"""Stress test: corrupted pictures through the encoder, how wide the calibrated sets grow, and how often they miss."""

import numpy as np

from common import console
from common.errors import InputError
from common.files import write_json, write_png
from common.seeding import unit_generator

SOURCE = 256  # px at which pictures are corrupted; encoders of another size see them reduced
CORRUPTIONS = ("none", "mild", "moderate", "severe", "extreme")
MAPPED = {"mild": 0, "moderate": 1, "severe": 2, "extreme": 2}  # levels that the original takes instead: easy, ...


def run(context, options, folder):
    """Corrupt, encode and measure, or with --from_outputs map corruptions to levels; return (results, files)."""
    folder.mkdir(parents=True, exist_ok=True)
    if options.from_outputs:
        console.say("note: --from_outputs takes the widths of the levels, easy first, for mild to extreme: nothing is "
                    "corrupted")
        levels, files = _from_outputs(context, options), []
    else:
        levels, files = _corrupt_and_encode(context, options, folder)
    found = {"run_index": options.run_index, "num_samples": options.num_samples or "all",
             "from_outputs": options.from_outputs, "corruption_levels": levels}
    write_json(folder / "stress_test_results.json", found)
    return found, [folder / "stress_test_results.json", *files]


def summary(widths, count, risk=None):
    """Return the published entry of mean widths (K,) of `count` images, and the risk."""
    return {"interval_widths": [float(value) for value in widths], "mean_interval_width": float(np.mean(widths)),
            "std_interval_width": float(np.std(widths)), "min_interval_width": float(np.min(widths)),
            "max_interval_width": float(np.max(widths)), "num_dimensions": len(widths), "num_samples": count,
            "risk": risk}


def _from_outputs(context, options):
    levels = {}
    for corruption, place in MAPPED.items():
        place = min(place, len(context.found) - 1)
        count = min(options.num_samples or context.opened[place].count, context.opened[place].count)
        levels[corruption] = summary(context.widths(place, options.run_index, count), count)
    return levels


def _corrupt_and_encode(context, options, folder):
    """Return ({corruption: summary}, files)."""
    from common.datasets.degradations import resized
    from common.datasets.latents import find_pairs
    from common.device import pick_device
    from common.networks.quantile_encoder_weights import load_quantile_encoder

    encoder = load_quantile_encoder(context.tree.model(options.model_name), pick_device(options.device))
    place = context.place(options.difficulty_level)
    if encoder.network.config.style_dims != context.opened[place].num_dims:
        raise InputError(f"has {encoder.network.config.style_dims} coordinates, the calibration is for "
                         f"{context.opened[place].num_dims}", where=context.tree.model(options.model_name),
                         do="Pass the calibrated encoder")
    pairs, size = find_pairs(options.image_dir)[: options.num_samples], options.encoder_size or encoder.size
    check_pairs(pairs, context.opened[place].num_dims)
    lambdas, levels, files = context.lambdas(place, options.run_index), {}, []
    centre, scale = _centre(context, place, encoder), context.stored.scale(context.opened[place])
    with console.progress("stress test", len(CORRUPTIONS) * len(pairs), unit="images") as advance:
        for corruption in CORRUPTIONS:
            widths, missed = [], []
            for index, pair in enumerate(pairs):
                pixels, path = _corrupted(pair, index, corruption, options, folder)
                files.append(path)
                pixels = pixels if size == SOURCE else resized(pixels, size)
                own, miss = _measure(encoder.network, pixels, pair, context.stored, place, lambdas, centre)
                widths.append(own)
                missed += [] if miss is None else [miss]
                advance()
            risk = float(np.mean(missed)) if missed else None
            levels[corruption] = summary(np.mean(widths, axis=0) * scale, len(pairs), risk)
    return levels, files


def check_pairs(pairs, num_dims):
    """Raise InputError naming latents of another generator, and those whose image is degraded already."""
    from common.datasets.latents import check_generator, read_latents

    made_by = {}
    for pair in pairs:
        if pair.latents is not None:
            latents = read_latents(pair.latents, num_dims)
            check_generator(made_by, latents, pair)
            if latents.record.get("resize_factor", 1) != 1:
                raise InputError(f"its image is degraded by {latents.record['resize_factor']} already",
                                 where=pair.latents, do="Pass the folder of factor 1")


def _centre(context, place, encoder):
    """Return what is added to predictions of the selected coordinates: (K,) float64, or 0; the encoder's own mean."""
    stored = context.stored
    centre = stored.centre(context.opened[place], stored.dims)
    own = encoder.statistics is not None and str(stored.norm_scheme) != "none"
    return np.float64(encoder.statistics.mean[stored.dims]) if own else centre


def _corrupted(pair, index, corruption, options, folder):
    """Return (the corrupted picture uint8 (256, 256, 3), the path under which it is kept)."""
    from common.datasets.degradations import corrupt, network_input, resized
    from common.images.pixels import rounded_bytes

    source = network_input(resized(_read(pair.image), SOURCE))
    changed = corrupt(source, corruption, unit_generator(options.seed, "corruption", index)).clamp(-1, 1)
    pixels = rounded_bytes(changed[None])[0]
    path = folder / "corrupted" / corruption / name_of(pair.name)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_png(path, pixels)
    return pixels, path


def name_of(name):
    """Return the name of a corrupted picture: the image's own path below its folder, as a PNG."""
    return name if name.endswith(".png") else f"{name}.png"  # x.jpg beside x.png is x.jpg.png


def _read(path):
    """Return an image file's pixels, uint8 (H, W, 3)."""
    from common.files import read_regular, system_errors
    from common.images.decode import decode

    with system_errors(path):
        data = read_regular(path)
    return decode(data, path)


def _measure(network, pixels, pair, stored, place, lambdas, centre):
    """Return (calibrated widths (K,), the loss or None) of a picture."""
    import torch

    from common.datasets.degradations import network_input
    from common.datasets.latents import read_latents
    from common.rcps.sets import make_intervals, missed_by

    with torch.no_grad():
        x = network_input(pixels)[None].to(next(network.parameters()).device)
        lower, point, upper = network(x, torch.as_tensor(stored.dims))[0].double().cpu().numpy()
    shape = stored.shape[place]
    below, above = lambdas[0] * shape * np.maximum(point - lower, 0), lambdas[-1] * shape * np.maximum(upper - point, 0)
    if pair.latents is None:
        return below + above, None
    truth = read_latents(pair.latents).style_vectors[stored.dims]
    intervals = make_intervals(*(values[None] for values in (truth, point, lower, upper)), centre)
    return below + above, float(stored.losses(missed_by(intervals, lambdas, shape))[0])
