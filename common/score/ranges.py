"""Which values the entries of a configuration may have, one by one and together."""

import math
from typing import NamedTuple

from common.errors import InputError

# Entries that have a flag of their own.
FLAGS = {"training.batch_size": "bs", "training.n_iters": "n_iters", "loss.balancing_fac": "balancing_fac",
         "loss.slices": "slices", "loss.reg_weight": "reg_weight"}


class Range(NamedTuple):
    """Numbers from low to high; open: "low", "high" or "both" for bounds that are not reached."""

    low: float
    high: float
    open: str = ""

    def holds(self, value):
        """Return whether a number, or every one of a list, lies within; NaN never does."""
        if isinstance(value, (tuple, list)):
            return all(map(self.holds, value))
        above = self.low < value if self.open in ("low", "both") else self.low <= value
        return above and (value < self.high if self.open in ("high", "both") else value <= self.high)

    def __str__(self):
        if self.low == -math.inf:
            return "a finite number"
        low = f"{'above' if self.open in ('low', 'both') else 'at least'} {self.low:g}"
        return f"{low} and {'below' if self.open in ('high', 'both') else 'at most'} {self.high:.15g}"


LARGE = 1e9  # beyond any use, but with finite squares in float32
SMALL = 1e-30  # below any use, but above 0 in float32
STEPS, BATCH = 10**12, 2**20
# The limits of counts are far above any use: a slip of the hand is named instead of filling the memory.
RANGES = {
    "training.batch_size": Range(1, BATCH), "training.n_iters": Range(0, STEPS), "training.init_step": Range(0, STEPS),
    "training.snapshot_freq": Range(1, STEPS), "training.snapshot_freq_for_preemption": Range(1, STEPS),
    "training.log_freq": Range(1, STEPS), "training.snapshot_metric": Range(0, 10**6),
    "sampling.n_steps_each": Range(1, 1000), "sampling.snr": Range(0, LARGE, "low"),
    "sampling.last_step_snr": Range(0, LARGE), "sampling.num_scales": Range(2, 10**6),
    "sampling.rtol": Range(0, 1, "both"), "sampling.atol": Range(0, LARGE, "low"),
    "sampling.num_steps": Range(2, 10**6), "sampling.sigma_max": Range(0, LARGE),
    "sampling.rho": Range(0, 1000, "low"), "sampling.eta": Range(0, LARGE),
    "sampling.batch_size": Range(1, BATCH),
    "eval.num_samples": Range(1, 10**9), "eval.batch_size": Range(1, BATCH), "eval.noise_levels": Range(1, 10**5),
    "eval.total_repeat": Range(1, 10**5),
    "data.image_size": Range(1, 4096),
    "model.sigma_min": Range(SMALL, LARGE), "model.sigma_max": Range(SMALL, LARGE),
    "model.num_scales": Range(1, 10**6), "model.nf": Range(4, 4096), "model.ch_mult": Range(1, 64),
    "model.num_res_blocks": Range(1, 64), "model.attn_resolutions": Range(1, 4096),
    "model.dropout": Range(0, 1, "high"), "model.fourier_scale": Range(0, LARGE, "low"),
    "model.ema_rate": Range(0, 1, "high"), "model.init_scale": Range(0, LARGE),
    "optim.lr": Range(0, 1e30, "low"), "optim.beta1": Range(0, 1, "high"), "optim.beta2": Range(0, 1, "high"),
    "optim.eps": Range(SMALL, LARGE), "optim.weight_decay": Range(0, LARGE), "optim.warmup": Range(0, STEPS),
    "optim.grad_clip": Range(-math.inf, math.inf, "both"),  # below 0 for no clipping
    "loss.balancing_fac": Range(-math.inf, math.inf, "both"), "loss.slices": Range(1, 10**5),
}
CHOICES = {
    "sampling.method": ("pc", "ode", "multistep", "heun"),
    "sampling.predictor": ("reverse_diffusion", "euler_maruyama", "ancestral_sampling", "none", ""),
    "sampling.corrector": ("langevin", "ald", "none", ""),
    "data.num_channels": (1, 3), "optim.schedule": ("constant", "cosine"), "loss.reg_weight": ("sigma2", "sigma4"),
    "loss.slice_masks": ("shared", "separate"),
}


def check_config(config, path=None):
    """Return a configuration; InputError for its first entry that is out of range or contradicts another.

    path: the file that it comes from, None for flags.
    """
    rules = [*_single(config), *_together(config)]
    for good, name, what in rules:
        if not good:
            section, _, key = name.partition(".")
            if path is not None:
                raise InputError(f"{name} is {config[section][key]}: {what}", where=path, do="Correct the value")
            flag = f"--{FLAGS[name]} " if name in FLAGS else f"--config.{name}="
            raise InputError(what, where=f"{flag}{config[section][key]}", do="Correct the value")
    return config


def sampling_rules(sampling, model):
    """Return [(valid, entry, requirement)] for a `sampling` section."""
    top = sampling["sigma_max"]
    return [*_single({"sampling": sampling}),
            (top == 0 or model["sigma_min"] < top, "sampling.sigma_max",
             f"must be above model.sigma_min ({model['sigma_min']}), or 0 for the SDE's")]


def _single(config):
    """Return the rules on single entries of the sections that a configuration has."""
    rules = []
    for section in config:
        for key, value in config[section].items() if isinstance(config[section], dict) else ():
            name = f"{section}.{key}"
            if name in RANGES:
                rules.append((RANGES[name].holds(value), name, f"must be {RANGES[name]}"))
            elif name in CHOICES:
                allowed = [str(choice) for choice in CHOICES[name] if choice != ""]
                rules.append((value in CHOICES[name], name, f"must be {', '.join(allowed[:-1])} or {allowed[-1]}"))
    return rules


def _together(config):
    """Return the rules on entries that depend on each other."""
    model, training, data = config["model"], config["training"], config["data"]
    levels, width = len(model["ch_mult"]), _indivisible(model)
    return [
        (model["sigma_min"] < model["sigma_max"], "model.sigma_min", "must be below model.sigma_max"),
        (model["nf"] % 4 == 0, "model.nf", "must be a multiple of 4"),
        (1 <= levels <= 8, "model.ch_mult", "must be one to eight integers"),
        (width is None, "model.nf", f"a layer would have {width} channels, not a multiple of its 32 groups: choose a "
         "multiple of 32"),
        (data["image_size"] % 2 ** max(levels - 1, 0) == 0, "data.image_size",
         f"must be divisible by {2 ** max(levels - 1, 0)} for {levels} levels"),
        (training["n_iters"] >= training["init_step"], "training.n_iters",
         f"the first step is {training['init_step']:,}: there is nothing to do"),
        (config["optim"]["grad_clip"] != 0, "optim.grad_clip", "0 makes every update 0; below 0 for no clipping"),
        (training["snapshot_metric"] != 1, "training.snapshot_metric",
         "must be 0, or at least 2 samples to have a covariance"),
        *sampling_rules(config["sampling"], model),
    ]


def _indivisible(model):
    """Return the first number of channels that group norm cannot divide, as NCSNpp has them; None where all are fine.

    It has a quarter as many groups as channels, at most 32, so that only 128 channels and more need be looked at.
    """
    nf, levels, blocks = model["nf"], model["ch_mult"], model["num_res_blocks"]
    widths, skips = [nf], [nf]
    for level, multiple in enumerate(levels):
        skips += [nf * multiple] * (blocks + (level < len(levels) - 1))  # with that of the step down
        widths.append(nf * multiple)
    for multiple in reversed(levels):
        for _ in range(blocks + 1):
            widths.append(widths[-1] + skips.pop())
            widths.append(nf * multiple)
    return next((width for width in widths if width >= 128 and width % 32), None)
