"""`--action compute_new`: from images to a file of statistics."""

from dataclasses import replace
from shlex import quote

from common import console, parallel
from common.effects import check_effects
from common.errors import InputError
from tools.setup_fid import findings

PROG = "setup_fid"


def compute_new(request):
    """Compute the statistics; results: name, file, num_images, excluded, features, width, resolution, fit, kid_file."""
    from common.device import pick_device, set_precision
    from common.features.encode import encode_in, report_excluded
    from common.features.resize import change_of
    from common.features.sources import open_images
    from common.features.spaces import open_space
    from common.job import Job

    options = settle(request)
    images = open_images(options.path, options.n_imgs, options.shuffle, options.split, options.data_dir)
    if 0 < len(images) < options.n_imgs:
        console.say(f"note: {images.what}, fewer than --n_imgs {options.n_imgs:,}")
    device = pick_device(options.device, parallel.local_rank())
    set_precision("fp32")
    space = open_space(options.extractor, options.mode, options.weights, device, layer=options.layer)
    spaces = [space, *([space.beside("spatial")] if options.sfid else [])]
    target = statistics_path(options, space.model)
    derived = {"images": images.identity() if parallel.is_main() else None, "features": space.name, **space.meta}
    job = Job(target.with_suffix(""), PROG, options, request=request, derived=derived, inputs=_inputs(options),
              about=[{"name": images.what}], owns=[f"../{target.name}", f"../{_kid_file(target).name}"], show=show,
              summary=findings.compute)

    def work():
        size = None if options.resolution == [0] else options.resolution
        change = change_of(size, options.fit, options.antialias)
        encoded = encode_in(spaces, images, options.batch_size, options.num_workers, change,
                            label=f"{space.name} features", cache_gb=options.cache_gb)
        report_excluded(encoded[0])
        outputs = [target, *([_kid_file(target)] if options.kid else [])]
        return _write(options, *encoded, space=space, target=target) if parallel.is_main() else {}, outputs

    return job.run(work, lambda: (f"would encode {images.what} with {space.name} and write {target}",
                                  {"num_images": len(images), "file": str(target)}), device)


def settle(options):
    """Return the options checked, the name in lower case and the resolution filled in. Raises InputError."""
    from common.features.resize import check_resolution
    from common.features.stats_store import check_name

    if not options.path:
        raise InputError("required with --action compute_new", where="--path",
                         do="Pass a folder, a zip, an array or the name of a data set")
    if options.name is None:
        raise InputError("required with --action compute_new", where="--name",
                         do="Choose a name for the statistics")
    if options.name != options.name.lower():
        console.say(f"note: names are stored in lower case: {options.name.lower()}")
    if options.n_imgs == 0:
        raise InputError("must be -1 or above 0", where=f"--n_imgs {options.n_imgs}", do="Correct the value")
    check_effects(options, acts(options))
    if options.shuffle and options.n_imgs < 0:  # as in the original, whose users write it in any case
        console.say("note: --shuffle acts on the choice of --n_imgs images, and all are taken")
        options = replace(options, shuffle=False)
    size = check_resolution(options.resolution or ([0] if options.extractor == "small" else [256]))
    return replace(options, name=check_name(options.name), resolution=list(size or [0]))


def acts(options):
    """Return when options act, see common.effects."""
    from common.datasets import KNOWN

    resized = (options.resolution or ([0] if options.extractor == "small" else [256])) != [0]
    of_inception = options.extractor == "inception", "the extractor inception"
    return {"split": (options.path.lower() in KNOWN, "a known data set"),
            "antialias": (resized and options.fit == "cover", "the resize to --resolution with --fit cover"),
            "fit": (resized, "the resize to --resolution"), "layer": of_inception, "sfid": of_inception,
            "weights": (options.extractor != "small", "extractors that have weights")}


def statistics_path(options, model):
    """Return the path of the statistics; model: "" for Inception, else the feature space's name."""
    from common.features.stats_store import stats_dir, stats_name

    return stats_dir(options.stats_dir) / stats_name(options.name, options.mode, model)


def record_folder(options):
    """Return the folder of the record, None where its name depends on the network file."""
    if options.action == "download" or not options.name or options.extractor not in ("inception", "small"):
        return None
    from common.features.small_features import NAME
    from common.features.spaces import model_of_layer

    model = NAME if options.extractor == "small" else model_of_layer(options.layer)
    return statistics_path(options, model).with_suffix("")


def _inputs(options):
    """Return the paths that are read, None where they are not all known."""
    from common.datasets import dataset_inputs

    images = dataset_inputs(options.path)
    if images is None or (options.extractor != "small" and options.weights is None):
        return None
    return [*images, *([options.weights] if options.weights else [])]


def _kid_file(target):
    return target.with_name(f"{target.stem}_kid.npz")


def _write(options, encoded, spatial=None, *, space, target):
    """Write the files and return the results."""
    from common.features.statistics import write_features, write_statistics
    from common.metrics.intervals import bias_note

    statistics = encoded.statistics()
    meta = {"features": space.name, "images": encoded.what, "shuffle": options.shuffle,
            "excluded": len(encoded.excluded)}
    write_statistics(target, statistics, meta, spatial.statistics() if spatial else None)
    if options.kid:
        write_features(_kid_file(target), statistics.features, {**statistics.meta, **meta})
    note = bias_note(encoded.count, space.width) if space.is_inception else None
    if note:
        console.say(f"note: {note}")
    return {"name": options.name, "file": str(target), "num_images": encoded.count, "excluded": len(encoded.excluded),
            "features": space.name, "width": space.width, "resolution": options.resolution,
            "fit": encoded.meta.get("resolution_fit", "cover") if options.resolution != [0] else None,
            "kid_file": str(_kid_file(target)) if options.kid else None}


def show(results):
    """Print the table of a file of statistics."""
    if results:
        size = " x ".join(map(str, results["resolution"])) if results["resolution"] != [0] else "original"
        size += " squashed" if results.get("fit") == "squash" else ""
        console.show_table(results["file"], ["name", "images", "excluded", "features", "size"],
                           [[results["name"], f"{results['num_images']:,}", results["excluded"], results["features"],
                             size]])
        extractor, _, rest = results["features"].partition("-")
        layer, _, _ = rest.partition("-")
        more = "" if extractor == "inception" else f" --extractor {extractor}"
        more += f" --layer {layer}" if extractor == "inception" and layer.isdigit() else ""
        console.say(f"next: python -m tools.compute_fid clean GENERATED --dataset_name {quote(results['name'])}{more}")
