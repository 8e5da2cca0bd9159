"""Configurations of score models: family and data set in one table, with the published configuration paths as aliases.

A configuration is a dictionary of sections, like that of the original's `get_config()`. Importable without torch.
"""

import copy

from common.datasets import canonical_name
from common.errors import InputError, Parameter, nearest
from common.score.published import check_file, published_file
from common.score.ranges import check_config

FAMILIES = {"u": "unconstrained U-NCSN++", "qc": "quasi-conservative QC-NCSN++", "c": "conservative C-NCSN++"}
DATASETS = ("cifar10", "cifar100", "svhn", "imagenet", "cifar10_small", "digits", "photos32")

# Entries that have a single value in all of the original's files, the only one implemented here.
FIXED = {
    "model": {
        "name": "ncsnpp", "scale_by_sigma": True, "normalization": "GroupNorm", "nonlinearity": "swish",
        "resamp_with_conv": True, "conditional": True, "fir": True, "fir_kernel": (1, 3, 3, 1), "skip_rescale": True,
        "resblock_type": "biggan", "progressive": "none", "progressive_input": "residual",
        "progressive_combine": "sum", "attention_type": "ddpm", "embedding_type": "fourier",
        "conv_size": 3,
    },
    "training": {"sde": "vesde", "continuous": True, "reduce_mean": False},
    "optim": {"optimizer": "Adam"},
    "data": {"uniform_dequantization": False, "centered": False},
}

BASE = {
    "training": {
        "batch_size": 128, "n_iters": 750001, "init_step": 0, "snapshot_freq": 10000,
        "snapshot_freq_for_preemption": 10000, "log_freq": 50, "likelihood_weighting": False,
        "snapshot_sampling": True, "snapshot_nll": True, "snapshot_metric": 0, **FIXED["training"],
    },
    "sampling": {
        "method": "pc", "predictor": "reverse_diffusion", "corrector": "langevin", "n_steps_each": 1,
        "noise_removal": True, "probability_flow": False, "snr": 0.16, "last_step_snr": 0.036, "num_scales": 1000,
        "rtol": 1e-4, "atol": 1e-6, "num_steps": 100, "sigma_max": 0.0, "rho": 7.0, "eta": 1.0, "batch_size": 9,
    },
    "eval": {"num_samples": 50000, "batch_size": 1000, "noise_levels": 100, "total_repeat": 1},
    "data": {"dataset": "cifar10", "image_size": 32, "num_channels": 3, "random_flip": True, **FIXED["data"]},
    "model": {
        "sigma_min": 0.01, "sigma_max": 50.0, "num_scales": 1000, "nf": 128, "ch_mult": (1, 2, 2, 2),
        "num_res_blocks": 8, "attn_resolutions": (16,), "dropout": 0.1, "fourier_scale": 16.0, "ema_rate": 0.999,
        "init_scale": 0.0, "energy": False, **FIXED["model"],
    },
    "optim": {"lr": 2e-4, "beta1": 0.9, "beta2": 0.999, "eps": 1e-8, "weight_decay": 0.0, "warmup": 5000,
              "grad_clip": 1.0, "schedule": "constant", **FIXED["optim"]},
    "loss": {"balancing_fac": 0.0, "slices": 1, "reg_weight": "sigma2", "slice_masks": "shared"},
    "seed": 42,
}

# What a data set changes, as in the published files; `steps` are (first, last) training steps by family. The originals'
# U files start at a step past their last, and the C files count from 600,000 with random weights: here both train from
# step 0 to the files' own last step.
BY_DATASET = {
    "cifar10": {"steps": {"u": (0, 450001), "qc": (600000, 750001), "c": (0, 750001)}},
    "cifar100": {"steps": {"u": (0, 300001), "qc": (600000, 750001), "c": (0, 750001)}},
    "svhn": {"steps": {"u": (0, 100001), "qc": (300000, 450001), "c": (0, 450001)},
             "eval": {"num_samples": 26032}},
    "imagenet": {"steps": {"u": (0, 450001), "qc": (600000, 750001), "c": (0, 750001)},
                 "model": {"dropout": 0.0}, "data": {"random_flip": False}},
    # Ours, between the embedded data's networks and the published one.
    "cifar10_small": {
        "steps": {"u": (0, 100000), "qc": (0, 130000), "c": (0, 130000)},
        "data": {"dataset": "cifar10"},
        "model": {"nf": 64, "num_res_blocks": 2},
        "loss": {"balancing_fac": 1e-4},
        "eval": {"num_samples": 10000},
    },
    "digits": {
        "steps": {"u": (0, 1000), "qc": (0, 1300), "c": (0, 1300)},
        "training": {"batch_size": 64, "snapshot_freq": 100, "snapshot_freq_for_preemption": 100, "log_freq": 10,
                     "snapshot_sampling": False, "snapshot_nll": False},
        "data": {"image_size": 8, "num_channels": 1, "random_flip": False},
        "model": {"nf": 16, "ch_mult": (1, 2), "num_res_blocks": 1, "attn_resolutions": (4,), "dropout": 0.0,
                  "fourier_scale": 1.0, "ema_rate": 0.99},
        "optim": {"lr": 2e-3, "warmup": 50},
        "loss": {"balancing_fac": 3e-3},
        # From sigma 50 the multistep sampler's first steps would be too long for these images of norm 4.
        "sampling": {"num_steps": 30, "sigma_max": 10.0},
        "eval": {"num_samples": 300, "batch_size": 100, "noise_levels": 20},
    },
    "photos32": {
        "steps": {"u": (0, 2000), "qc": (0, 2500), "c": (0, 2500)},
        "training": {"batch_size": 32, "snapshot_freq": 500, "snapshot_freq_for_preemption": 100, "log_freq": 10,
                     "snapshot_sampling": False, "snapshot_nll": False},
        "model": {"nf": 16, "ch_mult": (1, 1, 2, 2), "num_res_blocks": 1, "attn_resolutions": (), "dropout": 0.0,
                  "fourier_scale": 1.0, "ema_rate": 0.995},
        "optim": {"lr": 1e-3, "warmup": 100},
        "loss": {"balancing_fac": 3e-3},
        # More stochastic than the reverse SDE: fresh noise removes the errors of a network this small.
        "sampling": {"eta": 5.0},
        "eval": {"num_samples": 500, "batch_size": 100, "noise_levels": 20},
    },
}

PUBLISHED = {"cifar10", "cifar100", "svhn", "imagenet"}
FROM_THE_START = {"u": 0.0, "c": 0.0}  # lambda; the original's command line would give these families 1e-4 too


def _describe(family, dataset):
    first, last = BY_DATASET[dataset]["steps"][family]
    data = "cifar10 with 10 million parameters" if dataset == "cifar10_small" else dataset
    return f"{FAMILIES[family]} on {data}, steps {first:,} to {last:,}"


PRESETS = {f"{family}_{dataset}": _describe(family, dataset) for dataset in DATASETS for family in FAMILIES}


def preset(name):
    """Return the configuration of a preset name or of a published configuration path; InputError for anything else.

    Configuration files are programs, and none is run: the paths of the published ones are known, and a file that is
    there and sets something else is an InputError that names it.
    """
    family, dataset, method = _resolve(name)
    config = copy.deepcopy(BASE)
    changes = BY_DATASET[dataset]
    config["data"]["dataset"] = dataset
    for section, entries in changes.items():
        if section != "steps":
            config[section].update(entries)
    config["training"]["init_step"], config["training"]["n_iters"] = changes["steps"][family]
    config["model"]["energy"] = family == "c"
    if dataset in PUBLISHED:
        config["loss"]["balancing_fac"] = 1e-4
    if family in FROM_THE_START:
        config["loss"]["balancing_fac"] = FROM_THE_START[family]
    config["sampling"]["method"] = method
    if dataset in PUBLISHED:
        config["sampling"]["rtol"] = 1e-4 if family == "qc" else 5e-5
        config["training"]["snapshot_sampling"] = family != "c"
    if family == "c" and dataset == "svhn" and method == "pc":
        config["sampling"].update(snr=0.001, noise_removal=False)
    check_file(name, config)
    return config


def _resolve(name):
    """Return (family, dataset, sampling method) of a preset's name or of a published file's path."""
    text = str(name).lower().replace("imagenet32", "imagenet")
    if text in PRESETS:
        family, dataset = text.split("_", 1)
        return family, dataset, "pc"
    found = published_file(name)
    if found is not None and found[1] in PUBLISHED:
        return found
    if text.endswith(".py"):
        raise InputError("not the path of a published configuration file, and no other program is run", where=name,
                         do="Give a preset (python -m tools presets) and --config.section.name=value for the rest")
    raise InputError("unknown preset", where=Parameter("config", name), do=nearest(text, PRESETS))


def override(config, entries):
    """Return a copy of a configuration with `section.name=value` entries applied; unknown names are an InputError."""
    config = copy.deepcopy(config)
    for entry in entries:
        name, equals, text = entry.partition("=")
        flag = f"--config.{name}"
        if not equals or not text:
            raise InputError("expected a value", where=flag, do="Write --config.section.name=value")
        assign(config, name, text, flag)
        if name == "seed":
            raise InputError("this entry of the configuration is not applied", where=flag, do="Use --seed")
    return config


def assign(config, name, value, where):
    """Set an entry `section.name` of a configuration to a value or its text; InputError for one that it cannot have."""
    section, _, key = name.rpartition(".")
    known = config if not section else config.get(section)
    if not isinstance(known, dict) or key not in known or isinstance(known[key], dict):
        every = [f"{s}.{k}" for s, values in config.items() if isinstance(values, dict) for k in values] + ["seed"]
        raise InputError("the configuration has no such entry", where=where, do=nearest(name, every))
    known[key] = _convert(value, known[key], where)
    if name == "data.dataset":
        known[key] = canonical_name(known[key])
    fixed = FIXED.get(section, {})
    if key in fixed and known[key] != fixed[key]:
        raise InputError(f"only {fixed[key]!r} is supported", where=where, do="Leave the entry out")


def _convert(text, like, flag):
    """Return the text, or a value as YAML has it, as a value of the type of `like`."""
    kind = type(like)
    kinds = {tuple: (list, tuple), float: (int, float)}.get(kind, kind)
    if not isinstance(text, str) and _is_kind(text, kinds):
        return kind(text)
    try:
        if not isinstance(text, str):
            raise ValueError
        if kind is bool:
            return {"true": True, "1": True, "false": False, "0": False}[text.lower()]
        if kind is tuple:
            text = text.strip("()[] ").rstrip(",")
            return tuple(int(part) for part in text.split(",")) if text else ()
        return kind(text.replace("_", "") if kind is int else text)
    except (ValueError, KeyError) as error:
        wanted = {bool: "true or false", int: "an integer", float: "a number", tuple: "a list of integers",
                  str: "a text"}
        what = f"expected {wanted[kind]}, not '{text}'"
        raise InputError(what, where=flag, do=f"The default is {like!r}") from error


def complete(config, where):
    """Return a configuration read from the file `where`, checked, with defaults for entries that it lacks.

    The entries that define the network (sections model and data) are required. Raises InputError.
    """
    result = copy.deepcopy(BASE)
    for section, entries in BASE.items():
        if not isinstance(entries, dict):
            continue
        stored = config.get(section, {}) if isinstance(config, dict) else {}
        for key, value in entries.items():
            kinds = {tuple: (list, tuple), float: (int, float)}.get(type(value), type(value))
            required = section in ("model", "data")
            if not isinstance(stored, dict) or (key in stored or required) and not _is_kind(stored.get(key), kinds):
                raise InputError(f"its configuration lacks a valid {section}.{key}", where=where,
                                 do="The file is damaged; use another checkpoint")
            result[section][key] = tuple(stored[key]) if isinstance(value, tuple) else stored.get(key, value)
    return check_config(result)


def _is_kind(value, kinds):
    """True for a value of a type or several; a number is not a bool, and a list is one of whole numbers."""
    if isinstance(value, bool) or not isinstance(value, kinds):
        return isinstance(value, bool) and kinds is bool
    return not isinstance(value, (list, tuple)) or all(type(item) is int for item in value)


# What shapes a network or what is measured of it; the rest of `model` only shapes its training.
TRAINING_ALONE = ("model.ema_rate", "model.init_scale", "model.dropout")


def differences(given, stored):
    """Return [(entry, value, stored value)] where a configuration differs from one stored in a checkpoint in what
    shapes the network or what is measured of it."""
    names = [f"model.{key}" for key in stored["model"]] + [f"data.{key}" for key in ("dataset", "image_size",
                                                                                    "num_channels")]
    found = []
    for name in names:
        section, key = name.split(".")
        ours, theirs = given[section][key], stored[section][key]
        ours, theirs = (tuple(value) if isinstance(value, (list, tuple)) else value for value in (ours, theirs))
        if ours != theirs and name not in TRAINING_ALONE:
            found.append((name, ours, theirs))
    return found


def check_same_model(given, stored, where):
    """Raise InputError for the first entry in which a configuration contradicts the one stored in a checkpoint."""
    for name, ours, theirs in differences(given, stored):
        raise InputError(f"was trained with {name} {theirs}, this command's configuration has {ours}", where=where,
                         do=f"Leave `config` out, or add --config.{name}={theirs}")
