"""`--action compute_new`: from images to a file of statistics."""

from common import console, parallel
from common.cli import Outcome
from common.errors import InputError


def image_size(resolution, extractor):
    """Return (height, width) of a --resolution, or None for images as they are. Raises InputError."""
    given = list(resolution) or ([0] if extractor == "small" else [256])
    if given == [0]:
        return None
    if len(given) > 2 or min(given) < 8:
        raise InputError("one or two numbers of pixels, each at least 8",
                         where=f"--resolution {' '.join(map(str, given))}",
                         do="Give a side, or height and width, or 0")
    return (given[0], given[-1])


def compute_new(options):
    """Make the statistics; results: name, file, num_images, excluded, features, resolution."""
    from common.device import describe, pick_device, set_precision
    from common.features.encode import encode, report_excluded
    from common.features.resize import CoverAndCrop
    from common.features.sources import open_images
    from common.features.spaces import open_space
    from common.files import check_writable

    _check_flags(options)
    size = image_size(options.resolution, options.extractor)
    options.resolution = list(size or [0])
    images = open_images(options.path, options.n_imgs, options.shuffle, options.split, options.data_dir)
    if 0 < len(images) < options.n_imgs:
        console.say(f"note: {images.what}; fewer than --n_imgs {options.n_imgs:,}")
    device = pick_device(options.device, parallel.local_rank())
    set_precision("fp32")
    space = open_space(options.extractor, options.mode, options.weights, device)
    target, record = _target(options, images, space)
    check_writable(target.parent)
    if options.dry_run:
        console.say(f"would encode {images.what} with {space.name} and write {target}")
        return Outcome({"num_images": len(images), "file": str(target)})
    with parallel.process_group(device.type):
        outputs = [target, *([_kid_file(target)] if options.kid else [])]
        earlier = parallel.gather_objects(record.begin(outputs) if parallel.is_main() else None)[0]
        if earlier is not None:
            console.say(f"{target} is there, made by the same command")
            return Outcome(earlier, record=record)
        change = CoverAndCrop(size, options.antialias) if size else None
        encoded = encode(images, space, options.batch_size, options.num_workers, change, label=f"{space.name} features")
        results = _write(options, encoded, space, target) if parallel.is_main() else {}
    record.extra = {"machine": describe(device)}
    report_excluded(encoded)
    _show(results, options)
    return Outcome(results, outputs, record)


def _check_flags(options):
    from common.features.stats_store import check_name

    if not options.path:
        raise InputError("needed with --action compute_new", where="--path",
                         do="Name a folder, a zip, an array or a data set")
    if options.name is None:
        raise InputError("needed with --action compute_new", where="--name",
                         do="Say under which name to keep the statistics")
    if options.name != options.name.lower():
        console.say(f"note: names are kept in lower case: {options.name.lower()}")
    options.name = check_name(options.name)
    if options.n_imgs == 0 or options.n_imgs < -1:
        raise InputError("must be -1 or above 0", where=f"--n_imgs {options.n_imgs}", do="Correct the value")
    for name in ("batch_size", "num_workers"):
        if getattr(options, name) < 1:
            raise InputError("must be at least 1", where=f"--{name} {getattr(options, name)}", do="Correct the value")


def _target(options, images, space):
    """Return (the file, its RunRecord); InputError when something else stands under the name."""
    from common.features.stats_store import stats_dir, stats_name
    from common.job import RunRecord

    folder = stats_dir(options.stats_dir)
    target = folder / stats_name(options.name, options.mode, "" if space.is_inception else space.name)
    derived = {"images": images.identity() if parallel.is_main() else None, "features": space.name, **space.meta}
    record = RunRecord(folder / target.stem, "setup_fid", options, derived, [{"name": images.what}])
    if parallel.is_main():
        record.compare()
        if target.exists() and not record.path.exists() and not options.overwrite:
            raise InputError("is there already, and no record tells how it was made", where=target,
                             do="Choose another --name, or --overwrite to replace it")
    return target, record


def _kid_file(target):
    return target.with_name(f"{target.stem}_kid.npz")


def _write(options, encoded, space, target):
    """Write the files and return the results."""
    from common.features.statistics import write_features, write_statistics
    from common.metrics.intervals import bias_note

    statistics = encoded.statistics()
    meta = {"features": space.name, "images": encoded.what, "shuffle": options.shuffle,
            "excluded": len(encoded.excluded)}
    write_statistics(target, statistics, meta)
    if options.kid:
        write_features(_kid_file(target), statistics.features, {**statistics.meta, **meta})
    note = bias_note(encoded.count, space.width) if space.is_inception else None
    if note:
        console.say(f"note: {note}")
    return {"name": options.name, "file": str(target), "num_images": encoded.count, "excluded": len(encoded.excluded),
            "features": space.name, "width": space.width, "resolution": options.resolution,
            "kid_file": str(_kid_file(target)) if options.kid else None}


def _show(results, options):
    if results:
        size = " x ".join(map(str, results["resolution"])) if results["resolution"] != [0] else "as they are"
        console.show_table(results["file"], ["name", "images", "left out", "features", "brought to"],
                           [[results["name"], f"{results['num_images']:,}", results["excluded"], results["features"],
                             size]])
        extractor = "" if options.extractor == "inception" else f" --extractor {options.extractor}"
        console.say(f"next: python -m tools.compute_fid clean GENERATED --dataset_name {results['name']}{extractor}")
