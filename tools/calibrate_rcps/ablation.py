"""Ablation: one coordinate of a point is moved, and how much the picture changes is measured."""

import numpy as np

from common import console
from common.errors import InputError
from common.files import write_json, write_png
from common.seeding import unit_numpy
from tools.calibrate_rcps.endpoints import enlarge, stored_ends
from tools.calibrate_rcps.rendering import Renderer

KINDS = ("gaussian", "zero", "resample", "interval")
PIXELS = "root mean square of the grey levels, 0 to 1"


def run(context, options, folder):
    """Move each selected coordinate in each way; return (results, files)."""
    place = context.place(options.difficulty_level)
    outputs, stored = context.opened[place], context.stored
    if options.image_index >= outputs.count:
        raise InputError(f"the level has {outputs.count} images", where=f"--image_index {options.image_index}",
                         do=f"Pass 0 to {outputs.count - 1}")
    renderer = Renderer(context.generator_path(options), options.device)
    renderer.check(outputs.num_dims)
    measure, name = _measure(options)
    if not options.lpips_weights:
        console.say(f"note: no --lpips_weights: pictures are compared by the {name}")
    ends = stored_ends(stored, place, outputs, options.image_index, context.lambdas(place, options.run_index))
    scores, files, records = {}, [], {}
    with console.progress("ablation", len(stored.dims), unit="dims") as advance:
        for column, dim in enumerate(stored.dims):
            key, own = f"dim_{int(dim)}", {}
            for kind in KINDS:
                low, high = moved(kind, ends, int(dim), column, options)
                pictures = renderer.pictures(np.stack([low, high]), renderer.panel_size)
                own[kind] = measure(*pictures)
                files += _save(folder / "visualizations" / key, kind, pictures)
            scores[key] = own
            records[key] = {kind: {"stability_score": value, "dimension_index": int(dim)}
                            for kind, value in own.items()}
            advance()
    path = folder / f"ablation_results_{options.image_index}.json"
    write_json(path, {"image_index": options.image_index, "run_index": options.run_index,
                      "difficulty_level": options.difficulty_level, "perturbation_types": list(KINDS),
                      "noise_std": options.noise_std, "measure": name, "dimensions": records})
    return {"measure": name, "scores": scores}, [path, *files]


def moved(kind, ends, dim, column, options):
    """Return (low, high) codes (D,) float32 of a point with one coordinate moved.

    gaussian: two draws of noise_std around it.  zero: 0, and as it is.  resample: draws around -1 and 1 of 0.5.
    interval: the ends of its calibrated set.
    """
    point, low_end, high_end, _ = ends
    draws = unit_numpy(options.seed, "ablation", kind, dim).standard_normal(2)
    value = {"gaussian": lambda: point[dim] + options.noise_std * draws, "zero": lambda: (0.0, point[dim]),
             "resample": lambda: np.array([-1.0, 1.0]) + 0.5 * draws,
             "interval": lambda: (low_end[column], high_end[column])}[kind]()
    low, high = np.array(point, np.float32), np.array(point, np.float32)
    low[dim], high[dim] = value
    return low, high


def _measure(options):
    """Return (distance of two pictures uint8 (H, W, 3), its name)."""
    if not options.lpips_weights:
        return lambda low, high: float(np.sqrt(np.square((high.astype(np.float64) - low) / 255).mean())), PIXELS
    import torch

    from common.datasets.degradations import network_input
    from common.device import pick_device
    from common.networks.lpips import load_lpips

    device = pick_device(options.device)
    network = load_lpips(options.lpips_weights, device)

    def distance(low, high):
        with torch.no_grad():
            return float(network(*(network_input(picture)[None].to(device) for picture in (low, high))))

    return distance, "LPIPS"


def _save(folder, kind, pictures):
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / f"{kind}_low.png", folder / f"{kind}_high.png"]
    for path, picture in zip(paths, pictures):
        write_png(path, enlarge(picture, 1))
    return paths
