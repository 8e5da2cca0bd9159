"""The figures of a calibration: risks before and after, by level, coordinate and width, and the promise in words."""

import numpy as np

from common.rcps.bounds import MONOTONE
from common.rcps.choice import NoLambda
from common.rcps.sets import critical_values


def measure(kept, levels, rules, dims, names):
    """Return {table: rows} of [Calibrated] groups: "levels", "dims", "quarters", "runs"; rows are dictionaries."""
    rows = {"levels": [], "dims": [], "quarters": [], "runs": []}
    for found in kept:
        for place, number in enumerate(found.group.members):
            level = levels[number]
            missed = found.group.missed(place, found.setting)
            widths = set_widths(level, found.setting)
            rows["levels"].append(_level_row(found, place, level, missed, widths, rules))
            rows["dims"] += _dim_rows(found, place, level, missed, widths, dims, names)
            rows["quarters"] += _quarter_rows(level, missed, widths)
        rows["runs"] += _run_rows(found)
    return rows


def set_widths(level, setting):
    """Return the widths of a level's sets at a setting: float64 (N, K)."""
    low, high = setting.lambdas[0], setting.lambdas[-1]
    return (low * level.intervals.below + high * level.intervals.above) * setting.shape * level.scale


def _level_row(found, place, level, missed, widths, rules):
    group, runs, crossed = found.group, found.runs, level.intervals.crossed
    floor = float(np.isinf(critical_values(level.intervals)).mean())
    unit = _unit(group)
    tests = _level_test_risks(found, place, rules)
    residual = np.abs(level.intervals.residual)
    return {
        "level": level.name, "factor": level.factor, "num_images": level.count, "group": group.name,
        "lambda_hat": found.setting.lambdas.tolist(),
        "risk_uncalibrated": float(_mean_loss(group.missed(place, unit), rules)),
        "risk_calibrated": float(_mean_loss(missed, rules)),
        "test_risk_mean": _nanmean(tests), "test_risk_sd": _nanstd(tests),
        "width_uncalibrated": float((level.intervals.widths() * level.scale).mean()),
        "width_calibrated": float(widths.mean()),
        "crossed": float(crossed.mean()), "floor": floor, "width_residual_spearman": spearman(widths, residual),
        "runs_without_lambda": int(np.isnan(runs.risks).sum()),
    }


def _unit(group):
    """Return the setting of the uncalibrated sets, lambda 1."""
    from tools.calibrate_rcps.calibration import Setting

    return Setting(np.ones(len(group.sides)), np.full(len(group.sides), -1), group.plain)


def _mean_loss(missed, rules):
    from tools.calibrate_rcps.calibration import share_missed

    return share_missed(missed, rules.loss).mean()


def _level_test_risks(found, place, rules):
    """Return the mean loss of a level's test images in each run: (runs,), NaN where a run has no lambda."""
    group, runs = found.group, found.runs
    risks = np.full(len(runs.risks), np.nan)
    for run, setting in enumerate(runs.settings):
        if setting is not None:
            risks[run] = _mean_loss(group.missed(place, setting, runs.test[run]), rules)
    return risks


def _standard_error(found):
    """Return the standard error of the test risk of one split, mean over the splits; None where there is none."""
    group, runs = found.group, found.runs
    losses = [group.image_losses(test, setting) for setting, test in zip(runs.settings, runs.test)
              if setting is not None and len(test) > 1]
    return float(np.mean([loss.std(ddof=1) / np.sqrt(len(loss)) for loss in losses])) if losses else None


def _nanmean(values):
    return None if np.isnan(values).all() else float(np.nanmean(values))


def _nanstd(values):
    return None if np.isnan(values).all() else float(np.nanstd(values))


def _dim_rows(found, place, level, missed, widths, dims, names):
    unit = found.group.missed(place, _unit(found.group)).mean(axis=0)
    plain = (level.intervals.widths() * level.scale).mean(axis=0)
    floor = np.isinf(critical_values(level.intervals)).mean(axis=0)
    return [{"level": level.name, "dim": int(dim), "name": names[column],
             "risk_uncalibrated": float(unit[column]), "risk_calibrated": float(missed[:, column].mean()),
             "width_uncalibrated": float(plain[column]), "width_calibrated": float(widths[:, column].mean()),
             "crossed": float(level.intervals.crossed[:, column].mean()), "floor": float(floor[column]),
             "shape": float(found.setting.shape[column])} for column, dim in enumerate(dims)]


def _quarter_rows(level, missed, widths):
    """Return the risk among the narrowest to the widest sets, quarters of each coordinate's images."""
    rank = np.argsort(np.argsort(widths, axis=0, kind="stable"), axis=0, kind="stable")
    quarter = rank * 4 // len(widths)
    return [{"level": level.name, "quarter": each + 1, "mean_width": float(widths[quarter == each].mean()),
             "risk": float(missed[quarter == each].mean())} for each in range(4) if (quarter == each).any()]


def _run_rows(found):
    runs = found.runs
    return [{"group": found.group.name, "run": run, "lambda": runs.lambdas[run].tolist(),
             "index": runs.places[run].tolist(), "test_risk": _number(runs.risks[run]),
             "test_risk_uncalibrated": float(runs.plain_risks[run])} for run in range(len(runs.risks))]


def _number(value):
    return None if np.isnan(value) else float(value)


def spearman(first, second):
    """Return the mean over columns of Spearman's rank correlation of two arrays (N, K); None where none is defined."""
    from scipy.stats import rankdata

    one, two = rankdata(first, axis=0), rankdata(second, axis=0)
    one, two = one - one.mean(axis=0), two - two.mean(axis=0)
    scale = np.sqrt((one**2).sum(axis=0) * (two**2).sum(axis=0))
    return float(((one * two).sum(axis=0)[scale > 0] / scale[scale > 0]).mean()) if (scale > 0).any() else None


def results_of(kept, figures, rules, levels, dims, scheme):
    """Return the results under stable names, see the tool's page."""
    risks = np.concatenate([found.runs.risks for found in kept])
    plain = np.concatenate([found.runs.plain_risks for found in kept])
    return {
        "lambda_hat": {found.group.name: rounded_up(found.setting.lambdas) for found in kept},
        "risk_calibration": {found.group.name: found.risk for found in kept},
        "upper_bound": {found.group.name: found.upper_bound for found in kept},
        "alpha": rules.alpha, "delta": rules.delta, "bound": rules.bound,
        "num_images": [level.count for level in levels], "num_dims": len(dims),
        "test_risk_mean": _nanmean(risks), "test_risk_sd": _nanstd(risks),
        "test_risk_se": {found.group.name: _standard_error(found) for found in kept},
        "test_risk_uncalibrated": float(plain.mean()), "runs_above_alpha": int((risks > rules.alpha).sum()),
        "runs_without_lambda": int(np.isnan(risks).sum()), "levels": figures["levels"],
        "promise": promise(rules, levels, len(dims), scheme), "norm_scheme": scheme,
    }


def explained(error, levels, names):
    """Return a NoLambda that also says, where truths lie beyond every lambda, at which levels and coordinates."""
    if error.reason != "floor":
        return error
    crossed = ", ".join(f"{level.name} {percent(level.intervals.crossed.mean())}" for level in levels)
    floor = np.mean([np.isinf(critical_values(level.intervals)).mean(axis=0) for level in levels], axis=0)
    worst = [f"{names[place]} {percent(floor[place])}" for place in np.argsort(-floor, kind="stable")[:3]
             if floor[place] > 0]
    return NoLambda(error.reason, f"{error.what} (quantiles cross: {crossed}; worst coordinates: {', '.join(worst)})",
                    where=error.where, do=error.do)


def percent(share):
    """Return a share as a percentage for people, two digits of it below 10 %."""
    return f"{100 * share:.0f} %" if share >= 0.0995 else f"{100 * share:.2g} %"


def rounded_up(lambdas):
    """Return lambdas for people: rounded up to four decimals, so that the sets stay large enough.

    A lambda a hair above such a number is not that number: truths on the very edge of its sets would be missed.
    """
    near = [round(float(value), 4) for value in lambdas]
    return [found if found >= value else round(found + 1e-4, 4) for found, value in zip(near, lambdas)]


def promise(rules, levels, num_dims, scheme="mean"):
    """Return which promise a calibration with these rules makes, as one sentence."""
    names = ", ".join(level.name for level in levels)
    what = {"fraction": f"the expected share of the {num_dims} coordinates outside their sets",
            "any": "the probability that any coordinate of an image is outside its set"}.get(
        rules.loss, f"the probability that {rules.loss.replace('more_than:', 'more than ')} coordinates of an image "
        "are outside their sets")
    where = {"mean": f", averaged over the levels {names}," if len(levels) > 1 else "",
             "each": " at each level taken by itself", "each_together": " at every level at once", "pooled": ""}
    tail = f"{what}{where[rules.levels_as]} is at most {rules.alpha:g} for new images like the calibration's"
    why_none = [why for holds, why in (
        (rules.levels_as != "pooled", "pooled losses are not independent"),
        (scheme != "min_max_legacy", "min_max_legacy scales the sets and not the truth"),
        (rules.rule == "rigorous" or rules.bound in MONOTONE, "a lambda above the first that passes may fail"))
        if not holds]
    if why_none:
        return f"None that holds: {why_none[0]}. As published it says that {tail}."
    if rules.bound == "crc":
        return f"On average over calibrations {tail}."
    if rules.bound == "clt":
        return f"For very many images (an asymptotic bound) {tail}, with probability {1 - rules.delta:g}."
    return f"With probability {1 - rules.delta:g} over the calibration images {tail}."


def alpha_row(alpha, kept):
    """Return what a table of several alphas says of one."""
    return [{"alpha": alpha, "group": found.group.name, "lambda_hat": found.setting.lambdas.tolist(),
             "upper_bound": found.upper_bound, "test_risk_mean": _nanmean(found.runs.risks)} for found in kept]


def compare_bounds(levels, rules):
    """Return a row for each bound that can be used here: lambda, risk and mean width, or why there is none."""
    from dataclasses import replace

    from tools.calibrate_rcps.calibration import choose_for_all, make_groups
    from tools.calibrate_rcps.options import BOUNDS

    rows = []
    for bound in (*BOUNDS, "anytime", "crc"):
        rule = replace(rules, bound=bound, rule="rigorous", grid=None if bound in MONOTONE else rules.grid or "fine")
        for group in make_groups([level.name for level in levels], [level.intervals for level in levels], rule):
            if bound == "binomial" and group.width > 1:
                continue
            row = {"bound": bound, "group": group.name, "lambda_hat": None, "risk_calibration": None, "width": None,
                   "note": "asymptotic" if bound == "clt" else "on average" if bound == "crc" else ""}
            try:
                setting = choose_for_all(group)
            except NoLambda as error:
                row["note"] = error.what
            else:
                row["lambda_hat"] = setting.lambdas.tolist()
                row["risk_calibration"] = float(group.image_losses(slice(None), setting).mean())
                row["width"] = float(np.mean([set_widths(levels[number], setting).mean() for number in group.members]))
            rows.append(row)
    return rows
