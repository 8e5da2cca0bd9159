"""From lines of pairs to the table of attributes: shares with 95 % intervals, means with their errors."""

import numpy as np

from common.metrics.counterfactual import correlation_difference, mean_and_error, wilson

SHARES = {  # column: (name in the results, of which lines)
    "flip_on_real": ("flip_on_real", "flipped"), "oracle_flip": ("oracle_flip", "flipped"),
    "oracle_kept": ("oracle_kept", "flipped"), "truth_flip": ("truth", "truth"), "truth_kept": ("kept", "truth"),
}
MEANS = ("l1", "l1_to_real", "lpips", "perceptual", "blobs_changed", "pixels_changed", "redundancy", "oracle_changed",
         "cout", "evaluations", "change_xs", "change_ys", "change_sizes", "change_covs", "change_features",
         "change_spatial_style", "ynn", "pixel_distance", "relative_distance", "cosine", "blob_overlap")
RENAMED = {"oracle_changed": "mnac"}
ALL = "all"


def summarise(lines, names, labels=None):
    """Return {attribute's name, and "all": {measure: value}}. A share has NAME_count, NAME_total, NAME_low, NAME_high
    beside it, a mean NAME_error, half its 95 % interval over images."""
    groups = {names[attribute]: [line for line in lines if line["attribute"] == attribute]
              for attribute in sorted({line["attribute"] for line in lines})}
    found = {}
    for name, own in [*groups.items(), (ALL, lines)]:
        found[name] = _of(own)
        if labels is not None and name != ALL:
            _correlation(found[name], own, labels, names.index(name))
    return found


def _of(lines):
    searched = [line for line in lines if line["outcome"] != "already" or line["flip"]]
    flips = [line for line in searched if line["flip"]]
    found = {"pairs": len(lines), "already": len(lines) - len(searched),
             "not_found": sum(line["outcome"] == "not_found" for line in searched),
             "failed": sum(not line["finite"] or line["outcome"] == "failed" for line in searched)}
    _share(found, "success", len(flips), len(searched))
    chosen = {"flipped": flips, "truth": [line for line in flips if line.get("truth_started")]}
    for column, (name, which) in SHARES.items():
        own = [line for line in chosen[which] if column in line]
        if own:
            _share(found, name, sum(bool(line[column]) for line in own), len(own))
    for column in MEANS:
        own = [line for line in (searched if column == "evaluations" else flips) if line.get(column) is not None]
        if own:
            name = RENAMED.get(column, column)
            found[name], found[f"{name}_error"] = mean_and_error([line[column] for line in own],
                                                                 [line["image"] for line in own])
    spent = sum(line["evaluations"] or 0 for line in searched)
    if flips and spent:
        found["evaluations_per_flip"] = spent / len(flips)
    return found


def _share(found, name, count, total):
    low, high = wilson(count, total)
    found |= {name: count / total if total else None, f"{name}_count": count, f"{name}_total": total,
              f"{name}_low": low, f"{name}_high": high}


def _correlation(found, lines, labels, attribute):
    own = [line for line in lines if line["flip"] and "oracle_before" in line]
    if own:
        before, after = (np.array([line[f"oracle_{when}"] for line in own]) for when in ("before", "after"))
        found["correlation_difference"] = correlation_difference(labels, before, after, attribute)


SHOWN = (("success", "success"), ("flip_on_real", "on real"), ("oracle_flip", "oracle"), ("truth", "truth"),
         ("kept", "kept"), ("oracle_kept", "kept (oracle)"), ("mnac", "MNAC"), ("correlation_difference", "CD"),
         ("l1", "L1"), ("lpips", "LPIPS"), ("perceptual", "perceptual"), ("blobs_changed", "blobs"),
         ("redundancy", "redundant"), ("cout", "COUT"), ("fid", "FID"), ("sfid", "sFID"), ("ynn", "yNN"),
         ("relative_distance", "spread"), ("blob_overlap", "overlap"), ("evaluations_per_flip", "evaluations"))


def table(summary):
    """Return (columns, rows) of text: a measure a row, an attribute a column."""
    shown = [(name, heading) for name, heading in SHOWN if any(name in entry for entry in summary.values())]
    rows = [["pairs", *(str(entry["pairs"]) for entry in summary.values())]]
    rows += [[heading, *(_cell(entry, name) for entry in summary.values())] for name, heading in shown]
    return ["", *summary], rows


def _cell(entry, name):
    value = entry.get(name)
    if value is None:
        return ""
    if f"{name}_total" in entry:
        return f"{value:.2f} ({entry[f'{name}_low']:.2f}-{entry[f'{name}_high']:.2f}) of {entry[f'{name}_total']}"
    error = entry.get(f"{name}_error")
    return f"{value:.3g}" if error is None else f"{value:.3g} ± {error:.2g}"
