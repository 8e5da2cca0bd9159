"""How far a result is from what a golden case expects, in units of the case's tolerance (1 is just right)."""

from dataclasses import dataclass, field

import numpy as np

LIMITS = {"rtol": "rtol", "atol": "atol", "abs": "atol", "atol_rel_to_max": "atol_rel_to_max"}


@dataclass
class Judged:
    """What a check hands back when it judges by itself.

    ratios: {what: error over tolerance}, for tolerances of their own kind (make them with `within`).
    arrays: {name: got}, compared with the case's arrays at the case's tolerance as usual.
    """

    ratios: dict
    arrays: dict = field(default_factory=dict)


def to_numpy(value):
    """Return a numpy array of a tensor (any device or float type), array, list or number."""
    if hasattr(value, "detach"):
        value = value.detach().cpu()
        return value.float().numpy() if str(value.dtype) == "torch.bfloat16" else value.numpy()
    return np.asarray(value)


def within(got, expected, rtol=0.0, atol=0.0, atol_rel_to_max=0.0):
    """Return the largest error over tolerance: |got - expected| / (atol + rtol |expected| + atol_rel_to_max
    max|expected|).

    0 for empty arrays; infinity for another shape, for any difference where the tolerance is 0, and for NaN where
    none is expected (or none where NaN is expected). Strings and booleans must be equal.
    """
    got, expected = to_numpy(got), to_numpy(expected)
    if got.shape != expected.shape:
        return float("inf")
    if not (_is_number(got) and _is_number(expected)):
        return 0.0 if np.array_equal(got, expected) else float("inf")
    got, expected = got.astype(np.float64), expected.astype(np.float64)
    same = (got == expected) | (np.isnan(got) & np.isnan(expected))
    if same.all():
        return 0.0
    got, reference = got[~same], expected[~same]
    largest = np.abs(expected[np.isfinite(expected)]).max(initial=0.0)
    with np.errstate(invalid="ignore", divide="ignore"):
        limit = atol + rtol * np.abs(reference) + atol_rel_to_max * largest
        ratio = np.abs(got - reference) / limit
    ratio[~np.isfinite(got) | ~np.isfinite(reference)] = np.inf
    return float(ratio.max())


def _is_number(array):
    return np.issubdtype(array.dtype, np.number)


def limits(tolerance, name, dtype=None):
    """Return {"rtol", "atol", "atol_rel_to_max"} that a case's `tolerance` sets for the array `name`.

    tolerance: limits for all arrays, or an entry by array name; a bare number is absolute; "exact", 0, true under
    "exact", or nothing means equality; `uint8` is the absolute limit of uint8 arrays. A sentence, or keys of a check's
    own, cannot be read here: then the check has to judge by itself (ValueError).
    """
    if tolerance is None or tolerance in ("exact", 0):
        return {}
    if isinstance(tolerance, (int, float)) and not isinstance(tolerance, bool):
        return {"atol": float(tolerance)}
    if isinstance(tolerance, dict):
        if name in tolerance:
            return limits(tolerance[name], name, dtype)
        if dtype is not None and str(dtype) == "uint8" and "uint8" in tolerance:
            return {"atol": float(tolerance["uint8"])}
        found = {LIMITS[key]: float(value) for key, value in tolerance.items() if key in LIMITS}
        if found or tolerance.get("exact") is True or not set(tolerance) - {"note"}:
            return found
    raise ValueError(f"tolerance {tolerance!r} says nothing for '{name}': the check must judge it")


def judge(result, arrays, tolerance):
    """Return {what: error over tolerance} for what a check returned ({array name: got} or Judged)."""
    result = result if isinstance(result, Judged) else Judged({}, result)
    ratios = {name: float(ratio) for name, ratio in result.ratios.items()}
    for name, got in result.arrays.items():
        if name not in arrays:
            raise ValueError(f"the case has no expected array '{name}'")
        ratios[name] = within(got, arrays[name], **limits(tolerance, name, arrays[name].dtype))
    if not ratios:
        raise ValueError("the check compared nothing")
    return ratios


def worst_of(ratios):
    """Return (name, ratio) of the largest ratio; NaN counts as the largest."""
    return max(ratios.items(), key=lambda item: float("inf") if item[1] != item[1] else item[1])
