"""Flags of the calibration, and the Rules that they make."""

import re
from dataclasses import dataclass, replace
from typing import List, Optional

from common import console
from common.errors import InputError
from common.options import CommonOptions, is_given, option

BOUNDS = ["wsr", "bet", "binomial", "hb", "bentkus", "kl", "hoeffding", "bernstein", "clt"]
PUBLISHED = {"levels_as": "pooled", "rule": "first_hit", "grid": "published", "splits": "published"}
PUBLISHED_ALONE = {"loss": "fraction", "shape": "one", "sides": "one"}
DEFAULTS = {"levels_as": "mean", "rule": "rigorous", "splits": "seeded"}
PARITY_NOTE = ("note: --parity calibrates as published: the losses of all levels one behind the other, which breaks "
               "the guarantee (the risk exceeds alpha far more often than delta); see --levels_as mean")


@dataclass(kw_only=True)
class LevelOptions(CommonOptions):
    """Flags that name the outputs of an encoder at several difficulty levels."""

    base_dir: str = option("assets", "folder of experiments", kind="how")
    exp_name: str = option("super_resolution", "experiment: a folder of --base_dir", kind="how")
    resize_factors: List[str] = option(["1", "16", "32"], "resize factors, separated by blanks or commas", nargs="+")
    difficulty_levels: List[str] = option(["easy", "medium", "hard"], "names of the levels, one for each factor",
                                          nargs="+")
    outputs: List[str] = option([], "levels as NAME=FILE, instead of the experiment's outputs.npz files", nargs="+",
                                metavar="NAME=FILE", kind="how")


@dataclass(kw_only=True)
class CalibrateOptions(LevelOptions):
    """Flags of `calibrate_rcps`."""

    output_dir: Optional[str] = option(None, "output directory (default: {base_dir}/{exp_name}/calibration, with "
                                       "--outputs out/calibrate_rcps)", kind="how")
    dims: str = option("ffhq33", "coordinates: ffhq33, clevr28, all, numbers separated by commas, or a file of numbers")
    norm_scheme: str = option("mean", "how values are centred: mean (vector added), none, min_max (also scaled to "
                              "-1..1), min_max_legacy (the published formula, which is wrong)",
                              choices=["mean", "none", "min_max", "min_max_legacy"])
    alpha: List[float] = option([0.1], "largest risk; several give a table, the first is kept", nargs="+", above=0,
                                below=1)
    delta: float = option(0.1, "probability with which the promise may fail", above=0, below=1)
    bound: Optional[str] = option(None, "upper confidence bound (default: wsr; binomial for another loss than fraction "
                                  "that is 0 or 1)", choices=BOUNDS)
    guarantee: str = option("rcps", "rcps: risk <= alpha with probability 1 - delta; crc: on average over calibrations",
                            choices=["rcps", "crc"])
    anytime: bool = option(False, "a wsr bound that may be looked at after every new image")
    loss: str = option("fraction", "loss of an image: fraction (share of coordinates missed), any, or more_than:J")
    levels_as: Optional[str] = option(None, "mean (one loss per image, over the levels), each, each_together (all hold "
                                      "at once), pooled (as published; no guarantee) (default: mean)",
                                      choices=["mean", "each", "each_together", "pooled"])
    shape: str = option("one", "one factor for all coordinates, or per_dim[:SHARE], their own from that share")
    sides: str = option("one", "one lambda, or separate ones for the lower and the upper arm",
                        choices=["one", "separate"])
    rule: Optional[str] = option(None, "rigorous (passes at every larger lambda), first_hit (as published) (default: "
                                 "rigorous)", choices=["rigorous", "first_hit"])
    grid: Optional[str] = option(None, "lambdas: exact (monotone bounds), fine (0.1 to 10 by 0.2 %), published (110) "
                                 "(default: exact where the bound is monotone, else fine)",
                                 choices=["exact", "fine", "published"])
    total_runs: int = option(50, "random splits into calibration and test images", low=1, high=100_000)
    calibration_share: float = option(0.8, "share of the images that calibrates in a split", above=0, below=1)
    splits: Optional[str] = option(None, "seeded, or published (seeds of the original) (default: seeded)",
                                   choices=["seeded", "published"])
    seed: int = option(0, "random seed of the splits and of the images' order", low=0, high=2**32 - 1)
    parity: bool = option(False, "calibrate as published: pooled, first_hit, published grid and splits")
    drop_missing: bool = option(False, "leave out images without a truth")
    compare_bounds: bool = option(False, "also write a table of all bounds")
    pickle: bool = option(False, "also write calibration_results.pkl in the original's nesting (large)")


def settle(options, num_dims=None):
    """Return {alpha: Rules} of the flags, in their order. Raises InputError for flags that do not go together.

    num_dims: how many coordinates are selected, None where that is not known.
    """
    from common.rcps.bounds import MONOTONE, as_level
    from tools.calibrate_rcps.calibration import Rules

    chosen = {name: getattr(options, name) for name in (*DEFAULTS, "grid")}
    if options.parity:
        for name, value in PUBLISHED.items():
            if chosen[name] not in (None, value):
                raise InputError(f"--parity means {value}", where=f"--{name} {chosen[name]}",
                                 do="Leave out one of them")
            chosen[name] = value
        for name in ("loss", "shape", "sides"):
            if is_given(options, name):
                raise InputError(f"--parity means {PUBLISHED_ALONE[name]}, as published",
                                 where=f"--{name} {getattr(options, name)}", do="Leave out one of them")
    chosen = {name: value or DEFAULTS.get(name) for name, value in chosen.items()}
    if chosen["splits"] == "published" and is_given(options, "seed"):
        raise InputError("acts on seeded splits, the published ones have seeds of their own", where="--seed",
                         do="Leave it out, or use --splits seeded")
    bound = _bound(options, chosen["levels_as"], num_dims)
    if chosen["grid"] is None:
        chosen["grid"] = "exact" if bound in MONOTONE and chosen["rule"] == "rigorous" else "fine"
    if chosen["grid"] == "exact" and bound not in MONOTONE:
        raise InputError(f"bound {bound} may fail again above a lambda that passes", where="--grid exact",
                         do="Pass --grid fine, or a monotone bound such as bet or hb")
    if chosen["grid"] == "exact" and chosen["rule"] == "first_hit":
        raise InputError("needs a grid", where="--rule first_hit", do="Pass --grid fine or published")
    if chosen["levels_as"] == "pooled" and not options.parity:
        console.say("note: pooled losses of one image depend on each other: the guarantee does not hold")
    chosen["grid"] = None if chosen["grid"] == "exact" else chosen["grid"]
    common = {"delta": as_level(options.delta), "bound": bound, "loss": parse_loss(options.loss),
              "sides": options.sides, "shape": parse_shape(options.shape), "runs": options.total_runs,
              "share": options.calibration_share, "seed": options.seed, "published_count": options.parity, **chosen}
    return {alpha: Rules(alpha=alpha, **common) for alpha in dict.fromkeys(map(as_level, options.alpha))}


def settled(options, rules):
    """Return the options with what their Rules decided, so that a default and its name are one job."""
    from tools.calibrate_rcps.levels import split_list

    named = {"resize_factors": [str(int(word)) for word in split_list(options.resize_factors)],
             "difficulty_levels": split_list(options.difficulty_levels), "alpha": [rule.alpha for rule in rules],
             "delta": rules[0].delta}
    return replace(options, **named, bound=rules[0].bound, levels_as=rules[0].levels_as, rule=rules[0].rule,
                   grid=rules[0].grid or "exact", splits=rules[0].splits)


def _bound(options, levels_as, num_dims):
    """Return the bound's name: the flag's, crc, anytime, or the default."""
    if options.guarantee == "crc":
        for name in ("bound", "anytime", "delta"):
            if is_given(options, name):
                raise InputError("--guarantee crc has a test of its own, without delta", where=f"--{name}",
                                 do="Leave out one of them")
        return "crc"
    if options.anytime:
        if options.bound not in (None, "wsr"):
            raise InputError("--anytime is a form of wsr", where=f"--bound {options.bound}", do="Leave out one of them")
        return "anytime"
    alone = levels_as != "mean" or number_of_levels(options) == 1
    binary = parse_loss(options.loss) != "fraction" and alone
    if options.bound == "binomial" and not binary and not (num_dims == 1 and alone):
        raise InputError("is for losses of 0 and 1", where="--bound binomial",
                         do="Pass --loss any or more_than:J, with one level or --levels_as each")
    return options.bound or ("binomial" if binary else "wsr")


def number_of_levels(options):
    """Return how many levels the flags name."""
    from tools.calibrate_rcps.levels import split_list

    return len(options.outputs) or len(split_list(options.difficulty_levels))


def parse_loss(word):
    """Return a loss as the flag says it. Raises InputError for another word."""
    if word not in ("fraction", "any") and not re.fullmatch("more_than:[0-9]+", word):
        raise InputError("expected fraction, any or more_than:J", where=f"--loss {word}", do="Correct the value")
    return word


def parse_shape(word):
    """Return None for "one", else the share of the images that gives each coordinate's width."""
    if word == "one":
        return None
    name, colon, share = word.partition(":")
    try:
        value = float(share) if colon else 0.2
    except ValueError:
        value = 0.0
    if name != "per_dim" or not 0 < value < 1:
        raise InputError("expected one, per_dim or per_dim:SHARE with a share between 0 and 1",
                         where=f"--shape {word}", do="Correct the value")
    return value
