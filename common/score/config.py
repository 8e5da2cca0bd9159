"""Configurations of score models: family and data set in one table, with the published configuration paths as aliases.

A configuration is a dictionary of sections, like that of the original's `get_config()`. Importable without torch.
"""

import copy
import math

from common.errors import InputError, Parameter, nearest
from common.score.published import check_file, published_file

FAMILIES = {"u": "unconstrained U-NCSN++", "qc": "quasi-conservative QC-NCSN++", "c": "conservative C-NCSN++"}
DATASETS = ("cifar10", "cifar100", "svhn", "imagenet", "digits", "photos32")

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
        "snapshot_sampling": True, "snapshot_nll": True, **FIXED["training"],
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
    return f"{FAMILIES[family]} on {dataset}, steps {first:,} to {last:,}"


PRESETS = {f"{family}_{dataset}": _describe(family, dataset) for dataset in DATASETS for family in FAMILIES}


def preset(name):
    """Return the configuration of a preset name or of a published configuration path; InputError for anything else.

    Configuration files are programs, and none is run: the paths of the published ones are known, and a file that is
    there and sets something else is an InputError that names it.
    """
    family, dataset, method = _resolve(name)
    config = copy.deepcopy(BASE)
    changes = BY_DATASET[dataset]
    for section, entries in changes.items():
        if section != "steps":
            config[section].update(entries)
    config["data"]["dataset"] = dataset
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
        section, _, key = name.rpartition(".")
        known = config if not section else config.get(section)
        if not isinstance(known, dict) or key not in known or isinstance(known[key], dict):
            every = [f"{s}.{k}" for s, values in config.items() if isinstance(values, dict) for k in values] + ["seed"]
            raise InputError("the configuration has no such entry", where=flag, do=nearest(name, every))
        known[key] = _convert(text, known[key], flag)
        if name == "seed":
            raise InputError("this entry of the configuration is not applied", where=flag, do="Use --seed")
        fixed = FIXED.get(section, {})
        if key in fixed and known[key] != fixed[key]:
            raise InputError(f"only {fixed[key]!r} is supported", where=flag, do="Leave the entry out")
    return config


def _convert(text, like, flag):
    """Return the text as a value of the type of `like`."""
    kind = type(like)
    try:
        if kind is bool:
            return {"true": True, "1": True, "false": False, "0": False}[text.lower()]
        if kind is tuple:
            return tuple(int(part) for part in text.strip("()[] ").rstrip(",").split(","))
        return kind(text.replace("_", "") if kind is int else text)
    except (ValueError, KeyError) as error:
        wanted = {bool: "true or false", int: "an integer", float: "a number", tuple: "a list of integers"}
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
    """True for a value of a type or several; a number is no bool, and a list is one of whole numbers."""
    if isinstance(value, bool) or not isinstance(value, kinds):
        return isinstance(value, bool) and kinds is bool
    return not isinstance(value, (list, tuple)) or all(type(item) is int for item in value)


# What shapes a network or what is measured of it; the rest of `model` only shapes its training.
TRAINING_ALONE = ("model.ema_rate", "model.init_scale", "model.dropout")


def check_same_model(given, stored, where):
    """Raise InputError for the first entry in which a configuration contradicts the one stored in a checkpoint."""
    names = [f"model.{key}" for key in stored["model"]] + [f"data.{key}" for key in ("dataset", "image_size",
                                                                                    "num_channels")]
    for name in names:
        section, key = name.split(".")
        ours, theirs = given[section][key], stored[section][key]
        ours, theirs = (tuple(value) if isinstance(value, (list, tuple)) else value for value in (ours, theirs))
        if ours != theirs and name not in TRAINING_ALONE:
            raise InputError(f"was trained with {name} {theirs}, this command's configuration has {ours}", where=where,
                             do=f"Leave `config` out, or add --config.{name}={theirs}")


# Entries that have a flag of their own.
FLAGS = {"training.batch_size": "bs", "training.n_iters": "n_iters", "loss.balancing_fac": "balancing_fac",
         "loss.slices": "slices", "loss.reg_weight": "reg_weight"}


def check_config(config):
    """Raise InputError for entries that are out of range or contradict each other."""
    model, training, sampling, data, optim = map(config.get, ("model", "training", "sampling", "data", "optim"))
    rules = [
        *network_rules(model, data),
        (training["batch_size"] >= 1, "training.batch_size", "must be at least 1"),
        (training["n_iters"] >= training["init_step"] >= 0, "training.n_iters",
         f"the first step is {training['init_step']:,}: there is nothing to do"),
        (min(training["log_freq"], training["snapshot_freq"], training["snapshot_freq_for_preemption"]) >= 1,
         "training", "log_freq and snapshot frequencies must be at least 1"),
        (math.isfinite(config["loss"]["balancing_fac"]), "loss.balancing_fac", "must be a finite number"),
        (config["loss"]["slices"] >= 1, "loss.slices", "must be at least 1"),
        (config["loss"]["reg_weight"] in ("sigma2", "sigma4"), "loss.reg_weight", "must be sigma2 or sigma4"),
        (config["loss"]["slice_masks"] in ("shared", "separate"), "loss.slice_masks", "must be shared or separate"),
        (config["optim"]["schedule"] in ("constant", "cosine"), "optim.schedule", "must be constant or cosine"),
        (0 < optim["lr"] < math.inf, "optim.lr", "must be above 0"),
        (0 <= optim["beta1"] < 1 and 0 <= optim["beta2"] < 1, "optim.beta1", "must lie in [0, 1), like optim.beta2"),
        (optim["eps"] > 0 and optim["weight_decay"] >= 0 and optim["warmup"] >= 0, "optim",
         "eps must be above 0, weight_decay and warmup at least 0"),
        (math.isfinite(optim["grad_clip"]), "optim.grad_clip", "must be a number (below 0 for no clipping)"),
        (sampling["batch_size"] >= 1, "sampling.batch_size", "must be at least 1"),
        (sampling["method"] in ("pc", "ode", "multistep", "heun"), "sampling.method",
         "must be pc, ode, multistep or heun"),
        *sampling_rules(sampling, model),
        (sampling["predictor"] in ("reverse_diffusion", "euler_maruyama", "ancestral_sampling", "none", ""),
         "sampling.predictor", "must be reverse_diffusion, euler_maruyama, ancestral_sampling or none"),
        (sampling["corrector"] in ("langevin", "ald", "none", ""), "sampling.corrector",
         "must be langevin, ald or none"),
        *((config["eval"][name] >= 1, f"eval.{name}", "must be at least 1") for name in BASE["eval"]),
    ]
    for good, name, what in rules:
        if not good:
            section, _, key = name.partition(".")
            flag = f"--{FLAGS[name]} " if name in FLAGS else f"--config.{name}{'=' if key else ''}"
            raise InputError(what, where=f"{flag}{config[section][key] if key else ''}", do="Correct the value")
    return config


def network_rules(model, data):
    """Return [(valid, entry, requirement)] for the sections `model` and `data`."""
    return [
        (0 < model["sigma_min"] < model["sigma_max"], "model.sigma_min", "must lie between 0 and model.sigma_max"),
        (model["sigma_max"] < math.inf, "model.sigma_max", "must be finite"),
        (model["num_scales"] >= 1, "model.num_scales", "must be at least 1"),
        (0 <= model["init_scale"] < math.inf, "model.init_scale", "must be at least 0"),
        (0 < model["fourier_scale"] < math.inf, "model.fourier_scale", "must be above 0"),
        (min(model["ch_mult"], default=0) >= 1, "model.ch_mult", "must be one or more integers from 1"),
        (len(model["ch_mult"]) <= 16 and max(model["ch_mult"], default=0) <= 64, "model.ch_mult",
         "must be at most 16 integers up to 64"),
        (0 <= model["dropout"] < 1, "model.dropout", "must lie in [0, 1)"),
        (0 <= model["ema_rate"] < 1, "model.ema_rate", "must lie in [0, 1)"),
        (4 <= model["nf"] <= 1 << 14 and model["nf"] % 4 == 0, "model.nf", "must be a multiple of 4 up to 16,384"),
        (1 <= model["num_res_blocks"] <= 64, "model.num_res_blocks", "must be at least 1 and at most 64"),
        (1 <= data["image_size"] <= 1 << 14, "data.image_size", "must be at least 1 and at most 16,384"),
        (1 <= data["num_channels"] <= 1024, "data.num_channels", "must be at least 1 and at most 1,024"),
        (data["image_size"] % 2 ** (len(model["ch_mult"]) - 1) == 0, "data.image_size",
         f"must be divisible by {2 ** (len(model['ch_mult']) - 1)} for {len(model['ch_mult'])} levels"),
    ]


def sampling_rules(sampling, model):
    """Return [(valid, entry, requirement)] for the numbers of a `sampling` section."""
    return [
        (sampling["num_scales"] >= 2, "sampling.num_scales", "must be at least 2"),
        (sampling["num_steps"] >= 2, "sampling.num_steps", "must be at least 2"),
        (sampling["n_steps_each"] >= 1, "sampling.n_steps_each", "must be at least 1"),
        (0 < sampling["snr"] < math.inf, "sampling.snr", "must be above 0"),
        (0 < sampling["rtol"] < 1, "sampling.rtol", "must lie between 0 and 1"),
        (0 < sampling["atol"] < math.inf, "sampling.atol", "must be above 0"),
        (0 <= sampling["eta"] < math.inf, "sampling.eta", "must be at least 0"),
        (0 < sampling["rho"] <= 1000, "sampling.rho", "must be above 0 and at most 1,000"),
        (sampling["sigma_max"] == 0 or model["sigma_min"] < sampling["sigma_max"] < math.inf, "sampling.sigma_max",
         f"must be above model.sigma_min ({model['sigma_min']}), or 0 for the SDE's"),
    ]
