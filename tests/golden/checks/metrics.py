"""Sample-quality metrics from features: values of clean-fid, torch-fidelity, prdc, TF-GAN and high precision.

Tolerances that the cases give as sentences stand here as constants.
"""

import re

import numpy as np

from tests.golden.compare import Judged, limits, within
from tests.golden.registry import check

FRECHET = {"rtol": 1e-6, "atol": 1e-6}
RADII = {"rtol": 1e-5}
QUOTIENT = {"rtol": 1e-12}  # of exact counts, divided in another order
STAT = {"fid": {"rtol": 1e-6}, "inception_score": {"atol": 1e-6}}


def ratios(case, got):
    """Return {name: error over tolerance} of numbers that case.json itself holds under these names (those it has)."""
    return {
        name: within(value, case.spec[name], **limits(case.spec.get("tolerance"), name))
        for name, value in got.items() if name in case.spec
    }


def by_command(metric, generated, reference=None, **options):
    """Return the values of `compute_fid --metrics METRIC` of two sets of features; logits alone are a set, too."""
    from common.features.statistics import Statistics
    from tools.compute_fid.__main__ import CleanOptions
    from tools.compute_fid.measure import measure

    sides = [None if rows is None else Statistics(features=rows, logits=rows) for rows in (generated, reference)]
    return measure(*sides, CleanOptions(checkpoint="", metrics=[metric], interval=False, **options), "cpu")


@check("metrics/frechet")
def frechet(case):
    """Every pair: from the stored mean and covariance, and from the features."""
    from common.metrics.frechet import frechet_distance
    from tests.common.metrics.distances import frechet_distance_of_rows

    found = {}
    for pair in case.spec["cases"]:
        name = pair["name"]
        arrays = [case.arrays[f"{name}_{kind}{side}"] for side in (1, 2) for kind in ("mu", "sigma")]
        found[name] = within(frechet_distance(*arrays), pair["reference_60_digits"], **FRECHET)
        if "reference_from_features" in pair:
            got = frechet_distance_of_rows(*(case.arrays[f"{name}_feats{side}"] for side in (1, 2)))
            found[f"{name} from features"] = within(got, pair["reference_from_features"], **FRECHET)
            got = by_command("fid", *(case.arrays[f"{name}_feats{side}"] for side in (1, 2)))
            found[f"{name} by command"] = within([*got.values()], [pair["reference_from_features"]], **FRECHET)
    return Judged(found)


@check("metrics/kid")
def kid(case):
    """All pairs, clean-fid's and torch-fidelity's subsets, and the rows that clean-fid drew."""
    from common.metrics.kid import kid, kid_subsets, subset_rows

    features = case.arrays["feats1"], case.arrays["feats2"]
    num, size, seed = (case.spec[name] for name in ("num_subsets", "max_subset_size", "seed"))
    mean, deviation = (
        kid_subsets(*features, num, size, order="torch_fidelity") if "torch_fidelity_mean" in case.spec
        else (None, None)
    )
    got = {
        "full_unbiased": kid(*features)[0], "clean_fid": kid_subsets(*features, num, size, seed)[0],
        "clean_fid_defaults": kid_subsets(*features, seed=seed)[0],
        "torch_fidelity_mean": mean, "torch_fidelity_std": deviation,
    }
    found = ratios(case, got)
    by_flags = by_command("kid", *features, kid_subsets=num, kid_subset_size=size, seed=seed)
    by_flags = {"full_unbiased": by_flags["kid"], "clean_fid": by_flags["kid_subsets"]}
    if mean is not None:
        fidelity = by_command("kid", *features, kid_subsets=num, kid_subset_size=size, seed=2020,
                              kid_order="torch_fidelity")
        by_flags |= {"torch_fidelity_mean": fidelity["kid_subsets"], "torch_fidelity_std": fidelity["kid_subsets_std"]}
    found |= {f"{name} by command": ratio for name, ratio in ratios(case, by_flags).items()}
    drawn = zip(*subset_rows(len(features[0]), len(features[1]), num, size, seed))
    for name, rows in zip(("idx1", "idx2"), drawn):
        if name in case.arrays:
            found[name] = within(np.stack(rows), case.arrays[name])
    return Judged(found)


@check("metrics/inception_score")
def inception_score(case):
    """`splits<N>_shuffle<True or False>`: mean and deviation over N parts, permuted as torch-fidelity does or not."""
    from common.metrics.inception_score import TORCH_FIDELITY_SEED
    from tests.common.metrics.distances import inception_score_of

    logits, found = case.arrays["logits"], {}
    for name, expected in case.spec["values"].items():
        splits, shuffled = re.fullmatch(r"splits(\d+)_shuffle(True|False)", name).groups()
        got = inception_score_of(logits, int(splits), TORCH_FIDELITY_SEED if shuffled == "True" else None)
        found[name] = within(got, expected, **limits(case.spec["tolerance"], name))
        if splits == "1" or shuffled == "True":
            got = by_command("is", logits, splits=int(splits))
            got = got["inception_score"], got.get("inception_score_std", 0.0)
            found[f"{name} by command"] = within(got, expected, **limits(case.spec["tolerance"], name))
    return Judged(found)


@check("metrics/prdc")
def prdc(case):
    """Every pair of sets: prdc's four values, torch-fidelity's two, and the radii. A count may differ by one."""
    from common.metrics.prdc import prdc, squared_radii

    found = {}
    for pair in case.spec["cases"]:
        name, k = pair["name"], pair["k"]
        real, fake = case.arrays[f"{name}_real"], case.arrays[f"{name}_fake"]
        counts = {"precision": len(fake), "recall": len(real), "density": k * len(fake), "coverage": len(real)}
        for kind, inclusive in (("prdc", False), ("torch_fidelity", True)):
            got = prdc(real, fake, k, inclusive=inclusive)
            for value, expected in pair.get(kind, {}).items():
                found[f"{name} {kind} {value}"] = within(got[value], expected, atol=1.0 / counts[value])
        got = by_command("prdc", fake, real, nearest_k=k)
        for value, expected in pair.get("prdc", {}).items():
            found[f"{name} {value} by command"] = within(got[value], expected, atol=1.0 / counts[value])
        for kind, rows in (("real", real), ("fake", fake)):
            if f"{name}_radii_{kind}" in case.arrays:
                radii = np.sqrt(squared_radii(rows, k))
                found[f"{name} radii {kind}"] = within(radii, case.arrays[f"{name}_radii_{kind}"], **RADII)
    return Judged(found)


@check("metrics/mind")
def mind(case):
    """The sets as they are, the larger cut at random, and both cut to their first rows. `what` tells the directions."""
    from common.metrics.mind import mind

    features = case.arrays["feats1"], case.arrays["feats2"]
    told = re.search(r"(\d+) projections", case.spec.get("what", ""))
    num = case.spec.get("num_projections", int(told.group(1)) if told else 1000)
    seed = case.spec.get("seed", 2020)
    fewer = min(map(len, features))
    got = {"value": mind(*features, num, seed), "value_equal": mind(*(rows[:fewer] for rows in features), num, seed)}
    found = ratios(case, got)
    if (num, seed) == (1000, 2020):  # the command has no flags for these
        by_flags = ratios(case, {"value": by_command("mind", *features)["mind"]})
        found |= {f"{name} by command": ratio for name, ratio in by_flags.items()}
    return Judged(found)


@check("metrics/edm_stats")
def edm_stats(case):
    """Mean and covariance from the features, and as read from EDM's and EDM2's files."""
    from common.features.statistics import read_statistics, statistics_of_rows

    features = case.arrays["feats"]
    sides = {"features": statistics_of_rows([features], features.shape[1])}
    for name in case.spec["files"]:
        sides[name] = read_statistics(case.file(name), width=features.shape[1])
    found = {}
    for name, side in sides.items():
        for key, got in (("mu", side.mean), ("sigma", side.covariance)):
            found[f"{name} {key}"] = within(got, case.arrays[key], **limits(case.spec["tolerance"], key))
        if side.count is not None:
            found[f"{name} count"] = within(side.count, len(features))
    return Judged(found)


@check("metrics/qcncsn_stat")
def qcncsn_stat(case):
    """A work folder of QC-NCSN: the features as read, and what qc_ncsn eval says of them."""
    from common.features.statistics import read_statistics
    from tests.golden.checks.qc_ncsn_metrics import stored_figures
    from tools.qc_ncsn.work_dir import WorkDir

    work = WorkDir(case.file("workdir").resolve())
    found = {}
    for kind in ("dataset", "generated"):
        with read_statistics(work.stat() / f"{kind}_stat.npz") as side:
            for key, rows in (("pool", side.features), ("logit", side.logits)):
                found[f"{kind}_{key}"] = within(rows[:], case.arrays[f"{kind}_{key}"])
    values = stored_figures(work.root, nearest_k=case.spec["k"])
    distance = values["fid"] if "fid" in values else values["frechet_distance"]
    found["fid"] = within(distance, case.spec["fid"], **STAT["fid"])
    found["inception_score"] = within(values["inception_score"], case.spec["inception_score"],
                                      **STAT["inception_score"])
    found |= {name: within(values[name], value, **QUOTIENT) for name, value in case.spec["prdc"].items()}
    found["mean_nfe"] = within(values["mean_nfe"], case.spec["mean_nfe"], **QUOTIENT)
    return Judged(found)


@check("metrics/subset_choice")
def subset_choice(case):
    """The first so many files of the sorted and of the shuffled list."""
    from common.features.subset import choose_subset

    files, seed = sorted(case.spec["files_sorted"]), case.spec.get("seed", 0)
    found = {"sorted": within(files, case.spec["files_sorted"])}
    found["all"] = within(choose_subset(files, -1, shuffle=True, seed=seed), files)
    if "n" in case.arrays:
        found["n"] = within(len(files), case.arrays["n"])
    for num, expected in case.spec["shuffled_first"].items():
        found[f"shuffled {num}"] = within(choose_subset(files, int(num), shuffle=True, seed=seed), expected)
        found[f"first {num}"] = within(choose_subset(files, int(num)), files[: int(num)])
    return Judged(found)
