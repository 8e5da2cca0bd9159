"""Which options act on what is scored; one that acts on nothing is refused before any image is encoded."""

from common.datasets import KNOWN
from common.effects import check_effects
from common.errors import InputError
from common.options import is_given

OF_METRICS = {"nearest_k": "prdc", "inclusive": "prdc", "splits": "is", "kid_subsets": "kid", "kid_subset_size": "kid",
              "kid_order": "kid", "kid_pairs": "kid", "kid_kernel": "kid"}
OF_SUBSETS = ("kid_subset_size", "kid_order")
OF_GENERATORS = ("config", "method", "num_steps", "z_dim", "truncation", "output_range", "num_classes", "class_label")
ALONE = ("is", "vendi")  # metrics of the generated images alone
WITH_ERRORS = ("fid", "fid_infinity", "sfid", "kid", "is")  # metrics that have a standard error

PER_CLASS = ("fid", "kid")  # metrics that --per_class also takes class by class


def check_metric_options(options):
    """Raise InputError for an option of a metric that is not asked for, or of subsets that are not drawn, and for a
    reference where no metric compares."""
    for name in ("reference", "dataset_name"):
        if is_given(options, name) and {*options.metrics} <= {*ALONE}:
            raise InputError(f"{' and '.join(options.metrics)} compare{'s' * (len(options.metrics) == 1)} with nothing",
                             where=f"--{name}", do="Leave it out, or ask for a metric that compares, such as fid")
    for name, metric in OF_METRICS.items():
        if is_given(options, name) and metric not in options.metrics:
            raise InputError(f"acts on the metric {metric}, which is not asked for", where=f"--{name}",
                             do=f"Leave it out, or give --metrics {','.join([*options.metrics, metric])}")
    if is_given(options, "kid_sigma") and options.kid_kernel != "rbf":
        raise InputError("acts on the kernel rbf", where="--kid_sigma", do="Leave it out, or give --kid_kernel rbf")
    for name in OF_SUBSETS:
        if is_given(options, name) and not options.kid_subsets:
            raise InputError("acts on subsets, of which --kid_subsets 0 draws none", where=f"--{name}",
                             do="Leave one of them out")
    if options.kid_pairs == "subsets" and not options.kid_subsets:
        raise InputError("--kid_subsets 0 draws none", where="--kid_pairs subsets", do="Leave one of them out")


def check_acting(options, generated, reference, inside):
    """Raise InputError for an option that acts on nothing here.

    generated, reference: the sides' sources of images, None for a stored one.  inside: sources of images in stored
    sides.
    """
    sources = [source for source in (generated, reference, *inside) if source is not None]
    acts = {name: how for name, how in _acts(options, sources, generated).items() if hasattr(options, name)}
    check_effects(options, acts, "which is not scored here")


def _acts(options, sources, generated):
    """Return when options act, see common.effects; sources: of images that are encoded."""
    encodes, made = bool(sources), any(hasattr(source, "generate") for source in sources)
    files = any(not hasattr(source, "generate") for source in sources)
    metrics, extractor = {*options.metrics}, options.extractor
    inception, by_name = extractor == "inception", bool(options.dataset_name)
    chosen = [options.checkpoint, options.reference]
    named = any(str(place).lower() in KNOWN for place in chosen)
    pickles = any(str(place).lower().endswith((".pkl", ".pickle")) for place in chosen)
    of_images, of_inception = "images, not on stored features or statistics", "images with the extractor inception"
    return dict.fromkeys(OF_GENERATORS, (made, "a generator")) | {
        "num_gen": (generated is not None, of_images),
        "resolution": (files, "image files"),
        "fit": (files, "image files"),
        "seed": (made or ("kid" in metrics and options.kid_subsets), "generated images, or on the subsets of kid"),
        "interval": (bool(metrics & {*WITH_ERRORS}), f"the metrics {', '.join(WITH_ERRORS)}"),
        "extractor": (encodes or by_name or pickles, of_images),
        "layer": (inception and (encodes or by_name) and metrics != {"sfid"}, of_inception),
        "weights": (encodes and extractor != "small", "images with an extractor that has weights"),
        "mode": ((encodes and inception) or by_name, of_inception),
        "antialias": (encodes and inception, of_inception),
        "per_class": (bool(metrics & {*PER_CLASS}), f"the metrics {' and '.join(PER_CLASS)}"),
        "round": (made and inception, "generated images with the extractor inception"),
        "split": (named, "a known data set"),
        "reference_split": (str(options.reference).lower() in KNOWN, "a known data set"),
        "stats_dir": (by_name, "--dataset_name"),
        "data_dir": (named, "a known data set"),
    }
