"""`compute_fid pairs`: LPIPS, PSNR and SSIM of the images of two sets that have the same names."""

import itertools
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path, PurePosixPath

from common import console, parallel
from common.errors import InputError, Parameter, nearest
from common.numerals import counted
from tools.compute_fid import findings
from tools.compute_fid.names import PAIR_METRICS
from tools.compute_fid.perform import perform

AHEAD = 4  # pairs that wait for each thread
LABELS = {"psnr": "PSNR (dB)", "ssim": "SSIM", "lpips": "LPIPS"}


def score_pairs(request):
    """Run `compute_fid pairs`; results: num_pairs, of each metric mean, deviation over pairs and error, notes."""
    from common.device import pick_device, set_precision
    from common.features.sources import open_images

    options = settle(request)
    device = pick_device(options.device, parallel.local_rank())
    set_precision("fp32")
    sides = [open_images(place) for place in (options.first, options.second)]
    pairs, notes = matched(*sides, options.common)
    network = None
    if "lpips" in options.metrics:
        from common.networks.lpips import load_lpips

        network = load_lpips(options.lpips_weights, device)

    def work():
        values, excluded = _together(*measure_pairs(sides, parallel.shard(pairs), options, network, device), pairs)
        if not parallel.is_main():
            return {}, []
        results = _summary(values, excluded, options, sides, notes, network)
        outputs = _write(Path(options.output_dir), values, results, options.metrics) if options.output_dir else []
        return results, outputs

    plan = f"would compare {len(pairs):,} pairs of {sides[0].what} and {sides[1].what}", {"num_pairs": len(pairs)}
    with parallel.process_group(device.type):
        return perform(options, lambda: _job(request, options, sides), work, plan, device, show)


def _together(values, excluded, pairs):
    """Return what all processes measured, in the order of the pairs."""
    parts = parallel.gather_objects((values, excluded))
    whole = {name: row for part, _ in parts for name, row in part.items()}
    return ({name: whole[name] for name, *_ in pairs if name in whole},
            sorted(entry for _, part in parts for entry in part))


def settle(options):
    """Return the options with the metrics' names in a fixed order. Raises InputError for flags in conflict."""
    words = [word.lower() for entry in options.metrics for word in entry.replace(",", " ").split()]
    for word in words:
        if word not in PAIR_METRICS:
            raise InputError(f"unknown metric '{word}'", where="--metrics", do=nearest(word, PAIR_METRICS))
    if not words:
        raise InputError("no metric", where="--metrics", do=f"Choose from {', '.join(PAIR_METRICS)}")
    if ("lpips" in words) != bool(options.lpips_weights):
        what = "needs --lpips_weights" if "lpips" in words else "acts on the metric lpips, which is not asked for"
        raise InputError(what, where="--metrics lpips" if "lpips" in words else "--lpips_weights",
                         do="Pass AlexNet's or VGG-16's weights, torchvision's file" if "lpips" in words else
                         f"Leave it out, or give --metrics {','.join([*words, 'lpips'])}")
    if options.y_channel and not {"psnr", "ssim"} & {*words}:
        raise InputError("acts on the metrics psnr and ssim", where="--y_channel", do="Leave it out")
    return replace(options, metrics=[name for name in PAIR_METRICS if name in words])


def matched(first, second, common=False):
    """Return [(name, index in the first source, index in the second)], and notes on what is left out.

    Images of folders and archives go together by their paths without the ending, those of arrays, lists and parquet
    files by their number.  common: pairs that only one source has are left out, else refused.
    """
    names = [_stems(source) for source in (first, second)]
    if (names[0] is None) != (names[1] is None):
        raise InputError(f"{first.what} and {second.what}: one has names, the other rows",
                         do="Give two folders or archives, or two arrays or lists")
    if names[0] is None:
        names = [{str(index): index for index in range(len(source))} for source in (first, second)]
    shared = [name for name in names[0] if name in names[1]]
    alone = [[name for name in names[side] if name not in names[1 - side]] for side in (0, 1)]
    notes = []
    for source, missing in zip((first, second), alone):
        if missing:
            what = f"{counted(len(missing), 'image')} without a partner of equal name, the first is '{missing[0]}'"
            if not common or not shared:
                raise InputError(what, where=source.what, do="Give the sets the same names" +
                                 (", or pass --common" if shared else ""))
            notes.append(f"{source.what}: {what}; left out")
    return [(name, names[0][name], names[1][name]) for name in shared], notes


def _stems(source):
    """Return {path without ending: index} of a source, None for one without names."""
    found = source.names() if hasattr(source, "names") else None
    if found is None:
        return None
    stems = {}
    for index, name in enumerate(found):
        stem = str(PurePosixPath(name).with_suffix(""))
        if stem in stems:
            raise InputError(f"two images are called '{stem}' but for their ending", where=source.what,
                             do="Rename or remove one")
        stems[stem] = index
    return stems


def measure_pairs(sides, pairs, options, network, device):
    """Return {name: [value of each metric]} in order, and [(name, reason)] of the pairs that cannot be used."""
    excluded, found, waiting, queue = [], {}, [], iter(pairs)

    def load(pair):
        try:
            images = [side.load(index) for side, index in zip(sides, pair[1:])]
        except InputError as error:
            return pair[0], error, None
        images = [_cut(image, options.crop_border) for image in images]
        return pair[0], _of_pixels(*images, pair[0], options), images if network else None

    def flush():
        names, images = zip(*waiting)
        for name, value in zip(names, _distances(network, images, device)):
            found[name].append(value)
        waiting.clear()

    with ThreadPoolExecutor(max(1, options.num_workers)) as pool, \
            console.progress("pairs", len(pairs), unit="pairs") as advance:
        while group := list(itertools.islice(queue, AHEAD * max(1, options.num_workers))):
            for name, values, images in pool.map(load, group):
                advance(1)
                if isinstance(values, InputError):
                    excluded.append((name, str(values)))
                    continue
                found[name] = values
                if images is None:
                    continue
                if waiting and (waiting[0][1][0].shape != images[0].shape or len(waiting) == options.batch_size):
                    flush()
                waiting.append((name, images))
        if waiting:
            flush()
    return found, excluded


def _cut(image, border):
    """Return an image without `border` pixels on each side. Raises InputError for one that has no more."""
    if not border:
        return image
    if min(image.shape[:2]) <= 2 * border:
        raise InputError(f"nothing is left of {image.shape[1]} x {image.shape[0]} pixels without {border} on each side",
                         where=Parameter("crop_border", border), do="Pass less")
    return image[border:-border, border:-border]


def _of_pixels(first, second, name, options):
    """Return the values of psnr and ssim, those asked for."""
    import numpy as np

    from common.metrics.image_pairs import luma, psnr, ssim

    if first.shape != second.shape:
        sizes = " and ".join(f"{image.shape[1]} x {image.shape[0]}" for image in (first, second))
        raise InputError(f"its images are {sizes} pixels", where=name, do="Bring both sets to one size")
    if not (np.isfinite(first).all() and np.isfinite(second).all()):
        return InputError("it holds NaN or infinity", where=name, do="Restore or remove it")
    if options.y_channel:
        first, second = luma(first), luma(second)
    measures = {"psnr": psnr, "ssim": ssim}
    try:
        return [measures[metric](first, second) for metric in options.metrics if metric in measures]
    except InputError as error:  # too small for SSIM's window
        raise InputError(error.what, where=name, do=error.do) from error


def _distances(network, pairs, device):
    """Return the LPIPS of each of some pairs of images (H, W, 3) in 0..255, all of one size."""
    import numpy as np
    import torch

    smallest = network.smallest
    if min(pairs[0][0].shape[:2]) < smallest:
        raise InputError(f"images of {pairs[0][0].shape[1]} x {pairs[0][0].shape[0]} pixels, LPIPS needs {smallest}",
                         where=Parameter("metrics", "lpips"), do="Leave it out, or use larger images")
    first, second = (torch.from_numpy(np.stack(side).astype(np.float32)).to(device).permute(0, 3, 1, 2) / 127.5 - 1
                     for side in zip(*pairs))
    with torch.inference_mode():
        return network(first, second).double().cpu().tolist()


def _summary(values, excluded, options, sides, notes, network):
    """Return the results: of each metric the mean, the deviation over the pairs and the mean's standard error."""
    import numpy as np

    if not values:
        raise InputError(f"no pair is usable ({excluded[0][1]})", where=sides[0].what, do="Use other images")
    table = np.array(list(values.values()))
    results = {"first": sides[0].what, "second": sides[1].what, "num_pairs": len(values), "excluded": len(excluded)}
    for metric, column in zip(options.metrics, table.T):
        finite = column[np.isfinite(column)]
        if len(finite) < len(column):
            equal = counted(len(column) - len(finite), "equal pair")
            notes = [*notes, f"{equal} left out of the mean: the PSNR is infinite"]
        results[metric] = float(finite.mean()) if len(finite) else None
        if len(finite) > 1:
            deviation = float(finite.std(ddof=1))
            results |= {f"{metric}_std": deviation, f"{metric}_se": deviation / len(finite) ** 0.5}
    if "psnr" in options.metrics:
        results["num_equal"] = int(np.isinf(table[:, options.metrics.index("psnr")]).sum())
    if network is not None:
        results["lpips_net"] = network.net
    notes = [*notes, *(f"{name}: left out: {reason}" for name, reason in excluded[:5])]
    return {**results, "y_channel": options.y_channel, "crop_border": options.crop_border, "notes": notes}


def show(results):
    """Print the means and notes."""
    if not results:
        return
    rows = []
    for name, label in LABELS.items():
        if name in results:
            value, error = results[name], results.get(f"{name}_se")
            rows.append([label, "infinite" if value is None else f"{value:.6g}",
                         "" if error is None else f"+- {error:.2g}",
                         f"{results[f'{name}_std']:.4g}" if error is not None else ""])
    console.show_table(f"{results['first']} and {results['second']}: {counted(results['num_pairs'], 'pair')}",
                       ["metric", "mean", "standard error", "deviation over pairs"], rows)
    for note in results["notes"]:
        console.say(f"note: {note}")


def _write(folder, values, results, metrics):
    """Write pairs.csv, a row for each pair, and table.csv; return their paths."""
    from common.formats.tables import write_table

    pairs, table = folder / "pairs.csv", folder / "table.csv"
    write_table(pairs, ["name", *metrics], [[name, *(f"{value:.8g}" for value in row)] for name, row in values.items()])
    rows = [[LABELS[name], "inf" if results[name] is None else f"{results[name]:.8g}",
             *(f"{results[key]:.8g}" if key in results else "" for key in (f"{name}_se", f"{name}_std"))]
            for name in metrics]
    write_table(table, ["measure", "mean", "standard error", "deviation over pairs"], rows)
    return [str(pairs), str(table)]


def _job(request, options, sides):
    """Return the Job in --output_dir."""
    from common.datasets import dataset_inputs
    from common.files import file_hash
    from common.job import Job

    places = [dataset_inputs(place) for place in (options.first, options.second)]
    weights = [options.lpips_weights] if options.lpips_weights else []
    derived = {f"{which} content": side.identity() for which, side in zip(("first", "second"), sides)}
    derived |= {"weights content": file_hash(options.lpips_weights)} if weights else {}
    return Job(options.output_dir, "compute_fid pairs", options, request=request, derived=derived,
               inputs=None if None in places else [*sum(places, []), *weights],
               about=[{"name": side.what} for side in sides], owns=["table.csv", "pairs.csv"], show=show,
               summary=findings.pairs)
