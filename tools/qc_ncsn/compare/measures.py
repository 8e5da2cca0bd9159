"""What finished runs measured, and paired differences to the first."""

from common.record import read_record

COLUMNS = {  # result name: (heading, format)
    "steps": ("steps", "{:.0f}"), "nll": ("bits/dim", "{:.3f}"),
    "nll_difference": ("  less the first's", "{:+.3f}"),
    "dsm": ("DSM loss", "{:.4g}"), "dsm_difference": ("  less the first's", "{:+.3g}"),
    "asym": ("Asym", "{:.2e}"), "asym_ratio": ("  over the first's", "{:.3f}"), "nasym": ("NAsym", "{:.2e}"),
    "nasym_change": ("  change to the first's", "{:+.1%}"), "nasym_exact": ("NAsym, whole Jacobian", "{:.2e}"),
    "frechet": ("Frechet distance", "{:.4f}"), "fid": ("FID", "{:.2f}"), "inception_score": ("IS", "{:.2f}"),
    "precision": ("precision", "{:.3f}"), "recall": ("recall", "{:.3f}"), "density": ("density", "{:.3f}"),
    "coverage": ("coverage", "{:.3f}"), "nfe": ("calls/sample", "{:.0f}"),
}
# Shown with an error for single runs, too.
WITH_ERROR = {"nll", "nll_difference", "dsm", "dsm_difference", "asym", "nasym", "nasym_change", "nasym_exact"}
NO_ERROR = {"steps", "nfe"}  # even over repeats


def results_of(folder):
    """Return the results of a finished run's record in a folder, or {}."""
    record = _record(folder)
    return record.get("results", {}) if record.get("status") == "done" else {}


def _record(folder):
    """Return the record of a run in a folder, checked, or {}."""
    path = folder / "run.json"
    return read_record(path) if path.exists() else {}


def gather(work):
    """Return what the finished runs in a work folder measured, under COLUMNS' names, with `_se` where known."""
    train, nll, dsm, asym, exact = (results_of(folder) for folder in (work.root, work.nll, work.dsm, work.asym,
                                                                      work.asym_exact))
    sampled = [results_of(part) for part in sorted(work.sampling().glob("*"))]
    # What was measured may be a snapshot before the training's end.
    at = {results["step"] for results in (nll, dsm, asym, exact, *sampled) if isinstance(results.get("step"), int)}
    measured = {"steps": at.pop() if len(at) == 1 else train.get("step"), "nll": nll.get("nll"),
                "nll_se": nll.get("nll_se"), "dsm": dsm.get("dsm"), "dsm_se": dsm.get("dsm_se")}
    for name in ("asym", "nasym"):
        measured |= {name: asym.get(name), f"{name}_se": asym.get(f"{name}_se")}
    measured |= {"nasym_exact": exact.get("nasym"), "nasym_exact_se": exact.get("nasym_se")}
    for suffix in ("", "_ode"):
        quality = {**results_of(work.root / f"eval_fidis{suffix}"), **results_of(work.root / f"eval_prdc{suffix}")}
        names = ("fid", "inception_score", "precision", "recall", "density", "coverage")
        measured |= {name: quality[name] for name in names if name in quality}
        if "frechet_distance" in quality:
            measured |= {"frechet": quality["frechet_distance"], "features": quality.get("features")}
    measured["nfe"] = next((part["nfe"] for part in sampled if "nfe" in part), None)
    for kind in ALIKE:  # what was evaluated, beside the numbers
        settings = evaluated(getattr(work, kind), kind)
        if settings:
            measured[f"{kind}_of"] = f"{settings['weights']}, {settings['num_images']} images, {settings['split']}"
            measured[f"{kind}_of"] += f", {settings['estimator']}" if kind == "asym" else ""
    return {name: value for name, value in measured.items()
            if isinstance(value, str if name in TEXTS else (int, float))}


def measure(groups):
    """Return {name: [what each repeat measured]}; differences are to the first group's run of the same repeat."""
    base_name = next(iter(groups))
    base = [gather(work) for work in groups[base_name]]
    measured = {base_name: base}
    for name, works in list(groups.items())[1:]:
        measured[name] = []
        for index, work in enumerate(works):
            entry = gather(work)
            if index < len(base):
                entry |= paired(groups[base_name][index], work, base[index], entry)
            measured[name].append(entry)
    return measured


def merge(entries):
    """Return a single run's entry unchanged, or the mean over repeats with standard errors and all values."""
    if len(entries) == 1:
        return entries[0]
    merged = {"repeats": len(entries)}
    for name in COLUMNS:
        values = [entry[name] for entry in entries if name in entry]
        if len(values) == len(entries):
            mean = sum(values) / len(values)
            spread = sum((value - mean) ** 2 for value in values) / (len(values) - 1)
            merged |= {name: mean, f"{name}_se": (spread / len(values)) ** 0.5, f"{name}_repeats": values}
    return merged | {key: entries[0][key] for key in TEXTS if key in entries[0]}


# What two evaluations must have alike for their images to be paired, and what the table says of each.
ALIKE = {"nll": ("weights", "data", "split", "seed", "num_images", "total_repeat", "rtol", "atol", "coupling"),
         "dsm": ("weights", "data", "split", "seed", "num_images", "total_repeat", "nl"),
         "asym": ("weights", "data", "split", "seed", "num_images", "total_repeat", "nl", "slices", "estimator",
                  "exact")}
TEXTS = ("features", *(f"{kind}_of" for kind in ALIKE))


def evaluated(folder, kind):
    """Return {entry of ALIKE: value} of a finished evaluation's record, {} without one."""
    record = _record(folder)
    values = {**(record.get("options") or {}), **(record.get("derived") or {})}
    return {name: values.get(name) for name in ALIKE[kind]} if record.get("status") == "done" else {}


def unlike(first, work):
    """Return {kind: first entry in which two runs' evaluations differ}, for those that cannot be paired."""
    found = {}
    for kind in ALIKE:
        ours, theirs = evaluated(getattr(work, kind), kind), evaluated(getattr(first, kind), kind)
        differing = [name for name in ours if ours[name] != theirs.get(name)] if theirs else []
        found |= {kind: differing[0]} if differing else {}
    return found


def paired(first, work, base, own):
    """Return differences to the first run, with standard errors from images measured with the same draws; where the
    evaluations differ in more than the model, {"unpaired": {kind: what differs}} in their place."""
    differences, differing = {}, unlike(first, work)
    for kind, pattern in (("nll", "bpd_*.npz"), ("dsm", "levels_*/level_*.npz")):
        key = {"nll": "bpd"}.get(kind, kind)
        ours, theirs = (_stacked(getattr(folder, kind), pattern, key) for folder in (work, first))
        if kind not in differing and ours is not None and theirs is not None and ours.shape == theirs.shape:
            size = ours.shape[1] if kind == "dsm" else ours.size // _repeats(work, kind)
            difference = (ours - theirs).reshape(-1, size).mean(axis=0)  # repeats and levels of an image are one value
            differences |= _mean_and_error(f"{kind}_difference", difference)
    return differences | _asymmetry(first, work, base, own, differing) | ({"unpaired": differing} if differing else {})


def _repeats(work, kind):
    return evaluated(getattr(work, kind), kind).get("total_repeat") or 1


def _mean_and_error(name, values):
    """Return the mean of one value per image under `name`, and its standard error where there are several."""
    found = {name: float(values.mean())}
    return found | ({f"{name}_se": float(values.std(ddof=1) / len(values) ** 0.5)} if len(values) > 1 else {})


def _asymmetry(first, work, base, own, differing):
    """Return the change of NAsym, with its standard error, and the ratio of Asym, where they can be paired."""
    import numpy as np

    if "asym" in differing:
        return {}
    changes = {}
    ours, theirs = (_stacked(folder.asym, "levels_*/level_*.npz", "nasym") for folder in (work, first))
    if ours is not None and theirs is not None and ours.shape == theirs.shape and theirs.mean() > 0:
        difference = ((ours - theirs) / theirs.mean()).reshape(_repeats(work, "asym"), -1, ours.shape[1]).mean(axis=0)
        changes["nasym_change"] = float(difference.mean())
        if difference.shape[1] > 1:
            error = np.sqrt((difference.var(axis=1, ddof=1) / difference.shape[1]).sum()) / len(difference)
            changes["nasym_change_se"] = float(error)
    if base.get("asym") and own.get("asym") is not None:
        changes["asym_ratio"] = own["asym"] / base["asym"]
    return changes


def _stacked(folder, pattern, name):
    """Return an array of the stored files of a run, one row a file (one long row where they differ in length)."""
    import numpy as np

    from tools.qc_ncsn.evaluate.stored import read_numbers

    rows = [read_numbers(path, (name,))[name].reshape(-1).astype(np.float64) for path in sorted(folder.glob(pattern))]
    if not rows:
        return None
    return np.stack(rows) if len({len(row) for row in rows}) == 1 else np.concatenate(rows)[None]
