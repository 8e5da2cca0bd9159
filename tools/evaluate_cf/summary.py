"""From lines of pairs to the table of attributes: shares with 95 % intervals, means with their errors."""

import re

import numpy as np

from common.metrics.counterfactual import correlation_difference, mean_and_error, wilson
from tools.evaluate_cf.findings import ALL

SHARES = {  # column: (name in the results, of which lines)
    "flip_on_real": ("flip_on_real", "flips"), "truth_flip": ("truth", "truth"), "truth_kept": ("kept", "truth"),
}
OF_ORACLES = re.compile(r"oracle_(flip|kept)(_\d+)?")
MEANS = re.compile(r"l1|l1_to_real|lpips|perceptual|blobs_changed|pixels_changed|redundancy|oracle_changed(_\d+)?|"
                   r"cout|similarity(_to_real)?|evaluations|change_.*|ynn|pixel_distance|relative_distance|cosine|"
                   r"blob_overlap|pairwise_.*|measure_.*")
DIFFERS = 0.02  # of stored scores from those of pictures rendered again: more is not rounding


def summarise(lines, names, rule="correct", labels=None, oracle=None):
    """Return {attribute's name, and "all": {measure: value}}. A share has NAME_count, NAME_total, NAME_low, NAME_high
    beside it, a mean NAME_error, half its 95 % interval over images.

    labels: (M, A) bool of the data, for the correlation difference; oracle: columns of the oracle's attributes.
    """
    groups = {names[attribute]: [line for line in lines if line["attribute"] == attribute]
              for attribute in sorted({line["attribute"] for line in lines})}
    found = {}
    for name, own in [*groups.items(), (ALL, lines)]:
        found[name] = _of(own, rule)
        if labels is not None and oracle is not None and name != ALL:
            _correlation(found[name], own, labels, oracle, names.index(name))
    return found


def _of(lines, rule):
    """Return the measures of lines."""
    searched = [line for line in lines if line["outcome"] != "already"]
    flips = [line for line in searched if line["flip"]]
    found = {"pairs": len(lines), **{outcome: sum(line["outcome"] == outcome for line in lines)
                                     for outcome in ("flipped", "already", "not_found", "failed")}}
    if rule == "published":
        _share(found, "success", [bool(line.get("published_flip")) for line in lines])
    else:
        _share(found, "success", [line["flip"] for line in searched])
    _share(found, "stored_success", [line["stored_flip"] for line in lines if "stored_flip" in line])
    of = {"flips": flips, "truth": [line for line in flips if line.get("truth_started")]}
    columns = list(dict.fromkeys(name for line in lines for name in line))
    shares = SHARES | {name: (name, "flips") for name in columns if OF_ORACLES.fullmatch(name)}
    for column, (name, which) in shares.items():
        _share(found, name, [bool(line[column]) for line in of[which] if column in line])
    _share(found, "oracle_right", [line["oracle_flip"] == line["truth_flip"] for line in of["truth"]
                                   if "oracle_flip" in line])
    _share(found, "all_success", [line["all_flip"] for line in searched if line["number"] == 0 and "all_flip" in line])
    for column in filter(MEANS.fullmatch, columns):
        own = [line for line in (searched if column == "evaluations" else flips) if line.get(column) is not None]
        if own:
            name = column.replace("oracle_changed", "mnac")
            found[name], found[f"{name}_error"] = mean_and_error([line[column] for line in own],
                                                                 [line["image"] for line in own])
    spent = sum(line["evaluations"] or 0 for line in searched)
    if flips and spent:
        found["evaluations_per_flip"] = spent / len(flips)
    return found


def _share(found, name, values):
    """Add a share of booleans with its interval; nothing where there are none, but for the success."""
    count, total = sum(values), len(values)
    if total or name == "success":
        low, high = wilson(count, total)
        found |= {name: count / total if total else None, f"{name}_count": count, f"{name}_total": total,
                  f"{name}_low": low, f"{name}_high": high}


def _correlation(found, lines, labels, oracle, attribute):
    own = [line for line in lines if line["flip"] and "oracle_before" in line]
    if own:
        before, after = (np.array([line[f"oracle_{when}"] for line in own])[:, oracle] for when in ("before", "after"))
        found["correlation_difference"] = correlation_difference(labels, before, after, attribute)


def differing(lines, column):
    """Return (how many lines have stored scores that differ by more than rounding, the largest difference or None)."""
    values = [line[column] for line in lines if column in line]
    return sum(not value <= DIFFERS for value in values), max(values, default=None)


SHOWN = {
    "success": "success", "stored_success": "by stored scores", "all_success": "all of them", "flip_on_real": "on real",
    "oracle_flip": "oracle", "oracle_flip_2": "oracle 2", "truth": "truth", "oracle_right": "oracle right",
    "kept": "kept", "oracle_kept": "kept (oracle)", "mnac": "MNAC", "correlation_difference": "CD", "l1": "L1",
    "lpips": "LPIPS", "perceptual": "perceptual", "blobs_changed": "blobs", "pixels_changed": "pixels",
    "redundancy": "redundant", "cout": "COUT", "fid": "FID", "sfid": "sFID", "frechet": "Frechet",
    "sfrechet": "Frechet, halves", "fid_reference": "FID to the statistics",
    "frechet_reference": "Frechet to the statistics", "similarity": "similarity",
    "similarity_to_real": "similarity to the real one", "ynn": "yNN", "pixel_distance": "distance",
    "relative_distance": "relative",
    "cosine": "cosine", "blob_overlap": "overlap", "pairwise_lpips": "LPIPS of pairs",
    "pairwise_perceptual": "perceptual of pairs", "evaluations": "evaluations", "evaluations_per_flip": "per flip",
}


def table(summary):
    """Return (columns, rows) of text: a measure a row, an attribute a column."""
    rows = [[name.replace("_", " "), *(str(entry[name]) for entry in summary.values())]
            for name in ("pairs", "already", "not_found", "failed")]
    rows += [[heading, *(cell(entry, name) for entry in summary.values())] for name, heading in SHOWN.items()
             if any(entry.get(name) is not None for entry in summary.values())]
    return ["", *summary], rows


def cell(entry, name):
    """Return a measure as text, with its interval or error, and a distance of sets with the number of images."""
    value = entry.get(name)
    if value is None:
        return ""
    if f"{name}_total" in entry:
        return f"{value:.2f} ({entry[f'{name}_low']:.2f}-{entry[f'{name}_high']:.2f}) of {entry[f'{name}_total']}"
    if name in ("fid", "frechet"):
        return f"{value:.3g} ({entry['fid_counterfactual']} to {entry['fid_real']} images)"
    if name in ("fid_reference", "frechet_reference"):
        return f"{value:.3g} ({entry['fid_counterfactual']} to {entry['reference_images'] or 'unknown'} images)"
    error = entry.get(f"{name}_error")
    error = entry.get(f"{name}_spread") if error is None else error
    return f"{value:.3g}" if error is None else f"{value:.3g} ± {error:.2g}"
