"""The metrics between two common.features.statistics.Statistics."""

from common.errors import InputError


def measure(generated, reference, options, device, rows=None, spatial=None):
    """Return {metric: value, metric_se: standard error, ...} of the metrics that the options name.

    generated, reference: Statistics; reference may be None if no metric asked for compares.
    rows: {"generated" or "reference": Statistics} that take a side's place where a metric needs features or logits.
    spatial: both sides' Statistics of the spatial features, for sfid.
    """
    results, rows = {}, rows or {}
    for name in options.metrics:
        sides = (generated, reference)
        if name == "sfid":
            sides = spatial
        elif name not in ("fid", "fid_infinity"):
            sides = rows.get("generated", generated), rows.get("reference", reference)
        results |= MEASURES[name](*sides, options, device)
    return results


def is_fid(statistics):
    """True when a Frechet distance in these features is a FID: Inception's, or 2,048 unlabelled dimensions."""
    extractor = statistics.meta.get("extractor")
    return extractor == "inception" or (extractor is None and statistics.width == 2048)


NEED_FEATURES = ("kid", "prdc", "mind", "vendi")


def check_features(statistics, metric):
    """Raise InputError for a metric that needs features, where only mean and covariance are known."""
    if metric in NEED_FEATURES and statistics.features is None:
        raise InputError(f"has only mean and covariance, {metric} needs features", where=statistics.path,
                         do="Compute the statistics with setup_fid --kid, or pass the images as --reference")


def check_logits(where, has_logits):
    """Raise InputError when the Inception score is asked for without logits."""
    if not has_logits:
        raise InputError("has no logits, which the Inception score needs", where=where,
                         do="Score the images themselves, with Inception weights that include the last layer")


def _fid(generated, reference, options, device):
    """The Frechet distance (called FID for Inception's features alone), and its jackknife error."""
    from common.features.statistics import frechet
    from common.metrics.intervals import frechet_error

    name = "fid" if is_fid(generated) else "frechet_distance"
    value = frechet(generated, reference)
    return {name: value} | spread(name, value, frechet_error(generated, reference) if options.interval else None)


def _sfid(generated, reference, options, device):
    """The Frechet distance of spatial features, and its jackknife error."""
    from common.features.statistics import frechet
    from common.metrics.intervals import frechet_error

    value = frechet(generated, reference)
    return {"sfid": value} | spread("sfid", value, frechet_error(generated, reference) if options.interval else None)


def _fid_infinity(generated, reference, options, device):
    """The Frechet distance extrapolated to infinitely many images, and its error."""
    from common.metrics.extrapolation import frechet_infinity
    from common.metrics.intervals import frechet_error

    name = "fid_infinity" if is_fid(generated) else "frechet_infinity"
    value, error = frechet_infinity(generated, reference,
                                    frechet_error(generated, reference) if options.interval else None)
    return {name: value} | spread(name, value, error)


def spread(name, value, error):
    """Return {name_se, name_interval}, the normal 95 % interval; {} where the error is unknown."""
    return {} if error is None else {f"{name}_se": error,
                                     f"{name}_interval": [value - 1.96 * error, value + 1.96 * error]}


def _kid(generated, reference, options, device):
    """KID over all pairs with its jackknife error, and the mean over subsets that clean-fid prints.

    Over all pairs where they are asked for, or no more than those of the subsets; else `kid` is the subsets' mean.
    """
    from common.metrics.kid import Cubic, Gaussian, has_fewer_pairs, kid_both, kid_subsets

    fake, real = generated.features, reference.features
    kernel = Gaussian(options.kid_sigma) if options.kid_kernel == "rbf" else Cubic()
    drawn = (options.kid_subsets, options.kid_subset_size, options.seed, options.kid_order)
    every = options.kid_pairs == "all" or not options.kid_subsets or (
        options.kid_pairs == "auto" and has_fewer_pairs(len(fake), len(real), *drawn[:2]))
    if every:
        value, error, mean, deviation = kid_both(fake, real, *drawn, device=device, kernel=kernel)
    else:
        mean, deviation = kid_subsets(fake, real, *drawn, kernel=kernel)
        value, error = mean, None
    results = {"kid": value, "kid_pairs": "all" if every else "subsets"}
    results |= spread("kid", value, error if options.interval else None)
    return results | ({"kid_subsets": mean, "kid_subsets_std": deviation} if options.kid_subsets else {})


def _inception_score(generated, reference, options, device):
    """Inception score of the generated images, over splits of torch-fidelity's fixed permutation."""
    from common.formats.rows import blocks
    from common.metrics.inception_score import TORCH_FIDELITY_SEED, InceptionScore

    groups = 10 if options.interval else 1  # of the jackknife
    score = InceptionScore(generated.count, options.splits, TORCH_FIDELITY_SEED if options.splits > 1 else None, groups)
    for block in blocks(generated.logits):
        score.add(block)
    mean, deviation = score.result()
    results = {"inception_score": mean} | spread("inception_score", mean, score.standard_error())
    return results | ({"inception_score_std": deviation} if options.splits > 1 else {})


def _prdc(generated, reference, options, device):
    """Precision, recall, density and coverage."""
    from common.metrics.prdc import prdc

    values = prdc(reference.features, generated.features, options.nearest_k, device, options.inclusive)
    return {**values, "nearest_k": options.nearest_k, "inclusive": options.inclusive}


def _mind(generated, reference, options, device):
    """MIND."""
    from common.metrics.mind import mind

    return {"mind": mind(generated.features, reference.features)}


def _vendi(generated, reference, options, device):
    """The Vendi score of the generated images."""
    from common.metrics.vendi import vendi_score

    return {"vendi": vendi_score(generated.features)}


MEASURES = {"fid": _fid, "fid_infinity": _fid_infinity, "sfid": _sfid, "kid": _kid, "is": _inception_score,
            "prdc": _prdc, "mind": _mind, "vendi": _vendi}
