"""`calibrate_rcps simulate`: how often each bound keeps its promise, in a population whose risk is known."""

import math
from pathlib import Path

import numpy as np

from common import console
from common.errors import InputError
from common.numerals import counted
from tools.calibrate_rcps import findings
from tools.calibrate_rcps.commands import ALL

PROG = "calibrate_rcps simulate"


def simulate(options):
    """Run the simulation; results: rows (bound, share above alpha, mean risk, ...), looks."""
    from common.job import Job

    rules = _rules(options)
    folder = Path(options.output_dir)
    job = Job(folder, PROG, options, inputs=[], owns=["table_simulated.csv", "table_looks.csv"], show=show,
              summary=findings.simulation)

    def work():
        from tools.calibrate_rcps.tables import write_table

        with console.progress("draws", options.repetitions, unit="draws") as advance:
            rows = measure(options, rules, advance)
        outputs = [write_table(folder / "table_simulated.csv", rows)]
        looks = look_again(options) if options.looks else []
        if looks:
            outputs.append(write_table(folder / "table_looks.csv", looks))
        return {"rows": rows, "looks": looks}, outputs

    return job.run(work, lambda: (f"would draw {counted(options.num_images, 'image')} {options.repetitions} times",
                                  {"bounds": list(rules)}))


def _rules(options):
    """Return {bound: Rules} of the flags."""
    from common.rcps.bounds import MONOTONE
    from tools.calibrate_rcps.calibration import Rules
    from tools.calibrate_rcps.options import parse_loss, parse_shape

    loss, shape = parse_loss(options.loss), parse_shape(options.shape)
    if loss.startswith("more_than:") and int(loss.removeprefix("more_than:")) >= options.num_dims:
        raise InputError(f"there are {options.num_dims} coordinates", where=f"--loss {loss}",
                         do="Pass a smaller number")
    if loss != "fraction" and (options.dim_spread > 0 or shape is not None):
        raise InputError("the true risk is known for equal coordinates alone", where=f"--loss {loss}",
                         do="Leave out --dim_spread and --shape")
    binary = (loss != "fraction" or options.num_dims == 1) and (options.levels_as != "mean" or len(options.scales) == 1)
    if "binomial" in options.bounds and not binary:
        raise InputError("is for losses of 0 and 1", where="--bounds binomial", do="Pass --loss any, or --num_dims 1")
    chosen = options.bounds or [bound for bound in ALL if binary or bound != "binomial"]
    return {bound: Rules(alpha=options.alpha, delta=options.delta, bound=bound, loss=loss, shape=shape,
                         levels_as=options.levels_as, grid=None if bound in MONOTONE else "coarse") for bound in chosen}


def measure(options, rules, advance=lambda n=1: None):
    """Return a row for each bound and group of levels: share of draws above alpha, its error, mean risk and lambda."""
    from common.rcps.choice import NoLambda
    from tools.calibrate_rcps.calibration import make_groups

    names = level_names(options.scales)
    risks = {}
    for repetition in range(options.repetitions):
        levels = draw_levels(options, repetition)
        for bound, rule in rules.items():
            for group in make_groups(names, levels, rule):
                found = risks.setdefault((bound, group.name), [])
                try:
                    setting = group.choose(np.arange(group.count))
                except NoLambda:
                    found.append((math.nan, math.nan))
                else:
                    found.append((true_risk(options, setting, group.members), setting.lambdas[0]))
        advance()
    rows = [_row(options, rules[bound], bound, name, np.array(found)) for (bound, name), found in risks.items()]
    if options.levels_as in ("each", "each_together") and len(names) > 1:
        rows += [_any_row(options, rules[bound], bound, [np.array(risks[bound, name]) for name in names])
                 for bound in rules]
    return rows


def level_names(scales):
    """Return a name for each level's scale; equal ones are numbered."""
    names = [f"scale_{scale:g}" for scale in scales]
    return [name if names.count(name) == 1 else f"{name}_{place}" for place, name in enumerate(names, 1)]


def draw_levels(options, repetition):
    """Return the [Intervals] of a draw of calibration images, the same images at each level."""
    from common.rcps.population import draw_images
    from common.rcps.sets import Intervals
    from common.seeding import unit_numpy

    errors, half = draw_images(unit_numpy(options.seed, "draw", repetition), options.num_images, options.num_dims,
                               options.correlation)
    errors = errors * dim_factors(options)
    half = np.broadcast_to(half, errors.shape)
    return [Intervals(errors * scale, half, half, np.zeros(errors.shape, bool)) for scale in options.scales]


def dim_factors(options):
    """Return the size of each coordinate's errors: float64 (K,)."""
    return np.exp(np.linspace(-options.dim_spread, options.dim_spread, options.num_dims))


def true_risk(options, setting, members):
    """Return the expected loss of a setting, the mean over some levels."""
    from common.rcps.population import missed_any, missed_share

    scales = [options.scales[place] for place in members]
    if options.loss == "fraction":
        reach = setting.lambdas[0] * setting.shape / dim_factors(options)
        return float(np.mean([missed_share(reach, scale=scale) for scale in scales]))
    more = 0 if options.loss == "any" else int(options.loss.removeprefix("more_than:"))
    return float(np.mean([missed_any(setting.lambdas[0], options.num_dims, more, options.correlation, scale)
                          for scale in scales]))


def _row(options, rule, bound, name, found):
    risks = found[:, 0]
    above = int((risks > options.alpha).sum())
    return {"bound": bound, "group": name, "share_above_alpha": above / len(risks), **_error(above, len(risks)),
            "p_value": _p_value(above, len(risks), options.delta), "mean_risk": _mean(risks), "mean_lambda":
            _mean(found[:, 1]), "without_lambda": float(np.isnan(risks).mean()), "promise": _promise(rule)}


def _any_row(options, rule, bound, groups):
    """Return the row of the draws in which any level's risk exceeds alpha."""
    above = int(np.logical_or.reduce([found[:, 0] > options.alpha for found in groups]).sum())
    count = len(groups[0])
    return {"bound": bound, "group": "any level", "share_above_alpha": above / count, **_error(above, count),
            "p_value": _p_value(above, count, options.delta), "mean_risk": None, "mean_lambda": None,
            "without_lambda": None, "promise": _promise(rule) if options.levels_as == "each_together" else "none"}


def _error(above, count):
    share = above / count
    return {"standard_error": math.sqrt(share * (1 - share) / count)}


def _p_value(above, count, delta):
    """Return the probability of so many draws above alpha, or more, if the promise just held."""
    from scipy.stats import binom

    return float(binom.sf(above - 1, count, delta))


def _mean(values):
    return None if np.isnan(values).all() else float(np.nanmean(values))


def _promise(rule):
    if rule.levels_as == "pooled":
        return "none"
    return {"crc": "on average", "clt": "asymptotic"}.get(rule.bound, "delta")


def look_again(options):
    """Return how often a bound claims at least once, looked at again and again, where the risk is exactly alpha."""
    from scipy.optimize import brentq

    from common.rcps.bounds import RiskTest
    from common.rcps.population import draw_images, missed_share
    from common.seeding import unit_numpy

    lambda_hat = brentq(lambda value: missed_share(value) - options.alpha, 1e-3, 100)
    places = np.unique(np.geomspace(min(20, options.num_images), options.num_images, options.looks).astype(int))
    claimed = {"wsr": 0, "anytime": 0}
    for repetition in range(options.repetitions):
        errors, half = draw_images(unit_numpy(options.seed, "look", repetition), options.num_images, options.num_dims,
                                   options.correlation)
        misses = (np.abs(errors) >= lambda_hat * half).sum(axis=1)
        for bound in claimed:
            test = RiskTest(bound, options.alpha, options.delta, options.num_dims)
            claimed[bound] += any(test.claims(misses[:count]) for count in places)
    return [{"bound": bound, "looks": len(places), "share_claimed": count / options.repetitions,
             "p_value": _p_value(count, options.repetitions, options.delta)} for bound, count in claimed.items()]


def show(results):
    """Print what was counted."""
    rows = [(row["bound"], row["group"], f"{row['share_above_alpha']:.3f} ± {row['standard_error']:.3f}",
             "-" if row["mean_risk"] is None else f"{row['mean_risk']:.4f}",
             "-" if row["mean_lambda"] is None else f"{row['mean_lambda']:.4g}",
             "-" if row["without_lambda"] is None else f"{row['without_lambda']:.2f}", row["promise"],
             "broken" if row["promise"] == "delta" and row["p_value"] < 0.01 else "")
            for row in results["rows"]]
    columns = ["bound", "levels", "above alpha", "mean risk", "mean lambda", "no lambda", "promises", ""]
    console.show_table("Share of draws whose true risk exceeds alpha", columns, rows)
    if results["looks"]:
        console.show_table("Looked at again and again", ["bound", "looks", "false claims"], [
            (row["bound"], row["looks"], f"{row['share_claimed']:.3f}") for row in results["looks"]])
