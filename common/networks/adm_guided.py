"""Reading the networks of openai/guided-diffusion (Dhariwal and Nichol 2021): EDM's U-Net under other names.

Their files hold weights alone. Widths, blocks and attention show in the shapes; the image's size, the noise schedule,
the heads and the order of queries, keys and values do not. They are those of the published networks, known by their
shapes, or those of `model_flags`, the flags that guided-diffusion's scripts take: MODEL_FLAGS in its README.
"""

import re
import shlex

from common.errors import InputError, Parameter, nearest
from common.networks.adm_config import AdmConfig, decoder_parts, encoder_parts

# guided-diffusion's model_and_diffusion_defaults
DEFAULTS = {
    "image_size": 64, "num_channels": 128, "num_res_blocks": 2, "num_heads": 4, "num_heads_upsample": -1,
    "num_head_channels": -1, "attention_resolutions": "16,8", "channel_mult": "", "dropout": 0.0, "class_cond": False,
    "use_checkpoint": False, "use_scale_shift_norm": True, "resblock_updown": False, "use_fp16": False,
    "use_new_attention_order": False, "learn_sigma": False, "diffusion_steps": 1000, "noise_schedule": "linear",
    "timestep_respacing": "", "use_kl": False, "predict_xstart": False, "rescale_timesteps": False,
    "rescale_learned_sigmas": False,
}
MULTIPLIERS = {512: (0.5, 1, 1, 2, 2, 4, 4), 256: (1, 1, 2, 2, 4, 4), 128: (1, 1, 2, 3, 4), 64: (1, 2, 3, 4)}
HEADS_OF_64 = {"num_head_channels": 64, "noise_schedule": "linear"}
PUBLISHED = {  # (num_channels, num_res_blocks, image_size): what the shapes do not show
    (192, 3, 64): {"num_head_channels": 64, "use_new_attention_order": True, "noise_schedule": "cosine"},
    (256, 2, 128): {"num_heads": 4, "noise_schedule": "linear"},
    (256, 2, 256): HEADS_OF_64,  # ImageNet with and without classes, and the three of LSUN
    (256, 2, 512): HEADS_OF_64,
}
ATTENTION = "32,16,8"  # of all published networks
RESIDUAL = {"norm0": "in_layers.0", "conv0": "in_layers.2", "affine": "emb_layers.1", "norm1": "out_layers.0",
            "conv1": "out_layers.3"}
ATTENDING = {"norm2": "norm", "qkv": "qkv", "proj": "proj_out"}


def is_guided(state):
    """Return whether these are the names of a network of guided-diffusion, a classifier of it included."""
    return "time_embed.0.weight" in state and any(name.startswith("input_blocks.") for name in state)


def parse_model_flags(text):
    """Return {flag: value} of guided-diffusion's flags in one text, None for None; InputError for other flags."""
    if text is None:
        return None
    where = Parameter("model_flags")
    try:
        words = shlex.split(text.replace("=", " "))
    except ValueError as error:
        raise InputError(f"cannot be split into words ({error})", where=where, do="Correct the quotes") from error
    flags = {}
    for name, value in zip(words[::2], [*words[1::2], ""]):
        if not name.startswith("--") or value == "" or name[2:] not in DEFAULTS:
            known = name[2:] in DEFAULTS
            what = f"no value follows '{name}'" if known else f"'{name}' is not a flag of guided-diffusion"
            raise InputError(what, where=where, do=nearest(name[2:], DEFAULTS))
        flags[name[2:]] = _value(name[2:], value)
    return flags


def _value(name, text):
    kind, where = type(DEFAULTS[name]), Parameter("model_flags")
    yes, no = ("yes", "true", "t", "y", "1"), ("no", "false", "f", "n", "0")
    try:
        if kind is bool:
            return (*yes, *no).index(text.lower()) < len(yes)
        return kind(text)
    except ValueError as error:
        raise InputError(f"--{name} {text} is not a {'truth value' if kind is bool else 'number'}", where=where,
                         do="Give the flags of the network's training") from error


def read_guided(state, flags, where):
    """Return (AdmConfig, {name as in EDM: tensor}) of a state dict of guided-diffusion, noise levels (u) included.

    flags: of parse_model_flags, or None for a published network.
    Raises InputError for another network and for entries that are missing, too many or contradict the flags.
    """
    from common.networks.adm_discrete import noise_levels, with_limits

    shapes = {name: tuple(tensor.shape) for name, tensor in state.items()}
    seen = _structure(shapes, where)
    settings = _settings(seen, flags, where)
    config = _config(seen, settings, where)
    names = _names(config)
    _check_names(names.values(), state, where)
    order = settings["use_new_attention_order"]
    converted = {name: _converted(name, state[source], config, order, where) for name, source in names.items()}
    import torch

    for part in [*encoder_parts(config), *decoder_parts(config)]:  # EDM's files hold these filters
        if part.kind in ("up", "down"):
            for inner in ("conv0", "skip"):
                converted[f"model.{part.module}.{inner}.resample_filter"] = torch.full((1, 1, 2, 2), 0.25)
    levels = noise_levels(config)
    return with_limits(config, levels), {**converted, "u": levels}


def _structure(shapes, where):
    """Return what names and shapes show: {flag of guided-diffusion: value}, and "mults", "in", "out", "classes", "emb".

    Attention is a set of halvings: level numbers.
    """
    _refuse_other_kinds(shapes, where)
    inputs = _count(shapes, "input_blocks")
    ups = [index for index in range(inputs) if f"output_blocks.{index}.1.in_layers.2.weight" in shapes
           or f"output_blocks.{index}.2.in_layers.2.weight" in shapes]
    blocks = ups[0] if ups else inputs - 1  # a level's last of num_res_blocks + 1 blocks ends with the doubling
    widths = [_rows(shapes, f"input_blocks.{1 + first}.0.out_layers.3.weight")
              for first in range(0, inputs, blocks + 1)] if blocks > 0 else []
    channels = (*shapes["time_embed.0.weight"], 0, 0)[1]
    if not widths or inputs % (blocks + 1) or min(*widths, channels) < 1 \
            or len(shapes.get("input_blocks.0.0.weight", ())) != 4 or len(shapes.get("out.2.weight", ())) != 4:
        raise InputError("blocks of guided-diffusion's network are missing or have no shape that it has", where=where,
                         do="Copy or download the file again")
    attention = {level for level in range(len(widths))
                 if f"input_blocks.{1 + level * (blocks + 1)}.1.qkv.weight" in shapes}
    classes = _rows(shapes, "label_emb.weight")
    return {"num_channels": channels, "num_res_blocks": blocks, "class_cond": classes > 0, "classes": classes,
            "mults": tuple(width / channels for width in widths), "attention": attention,
            "emb": shapes["time_embed.0.weight"][0] // channels,
            "in": shapes["input_blocks.0.0.weight"][1], "out": shapes["out.2.weight"][0]}


def _refuse_other_kinds(shapes, where):
    """Raise InputError for networks of guided-diffusion's family that are not read."""
    what, do = None, "Use a diffusion network of guided-diffusion, such as 64x64_diffusion.pt"
    first = shapes.get("input_blocks.0.0.weight", ())
    rows, width = (_rows(shapes, f"input_blocks.1.0.{name}.weight") for name in ("emb_layers.1", "out_layers.3"))
    if not any(name.startswith("output_blocks.") for name in shapes):
        what = "this is a classifier of guided-diffusion, which denoises nothing"
    elif any(re.fullmatch(r"input_blocks\.\d+\.0\.op\.weight", name) for name in shapes):
        what = "its levels are joined by convolutions (resblock_updown False), as improved-diffusion's; not supported"
    elif len(first) == 4 and first[1] != 3:
        what = f"it takes {first[1]} channels: an upsampler of guided-diffusion, or no network for RGB images"
    elif rows and rows == width:
        what = "its blocks are not scaled by the embedding (use_scale_shift_norm False); not supported"
    if what:
        raise InputError(what, where=where, do=do)


def _rows(shapes, name):
    return (*shapes.get(name, ()), 0)[0]


def _count(shapes, container):
    numbers = [int(name.split(".")[1]) for name in shapes if re.match(rf"{container}\.\d+\.", name)]
    return max(numbers, default=-1) + 1


def _settings(seen, flags, where):
    """Return all of guided-diffusion's flags for a network; InputError where they are not known or contradict it."""
    size = next((size for size, mults in MULTIPLIERS.items() if mults == seen["mults"]), None)
    if flags is None:
        known = PUBLISHED.get((seen["num_channels"], seen["num_res_blocks"], size))
        if known is None or seen["out"] != 6 or seen["attention"] != _halvings(ATTENTION, size):
            raise InputError("not one of guided-diffusion's published networks, and the weights show neither their "
                             "noise schedule nor their attention heads", where=where,
                             do="Pass the flags of its training as one text, --model_flags '--image_size 64 ...'")
        return {**DEFAULTS, "image_size": size, **known}
    settings = {**DEFAULTS, **flags}
    given = tuple(map(float, settings["channel_mult"].split(","))) if re.fullmatch(r"\d+(,\d+)*",
                                                                                   settings["channel_mult"]) else None
    mults = given or MULTIPLIERS.get(settings["image_size"])
    facts = {"num_channels": seen["num_channels"], "num_res_blocks": seen["num_res_blocks"],
             "class_cond": seen["class_cond"], "learn_sigma": seen["out"] == 6, "resblock_updown": True,
             "use_scale_shift_norm": True, "predict_xstart": False}
    wrong = [name for name, value in facts.items() if settings[name] != value]
    if mults != seen["mults"]:
        wrong.append("channel_mult" if given else "image_size")
    elif _halvings(settings["attention_resolutions"], settings["image_size"]) != seen["attention"]:
        wrong.append("attention_resolutions")
    if settings["num_heads_upsample"] not in (-1, settings["num_heads"]) and settings["num_head_channels"] == -1:
        wrong.append("num_heads_upsample")
    if settings["noise_schedule"] not in ("linear", "cosine"):
        wrong.append("noise_schedule")
    if wrong:
        how = "" if wrong[0] in flags else ", guided-diffusion's default,"
        why = f"--{wrong[0]} {settings[wrong[0]]}{how} does not fit the network in {where}, or is not supported"
        raise InputError(why, where=Parameter("model_flags"), do="Give the flags of its training")
    return settings


def _halvings(resolutions, size):
    """Return the levels of `attention_resolutions`, {} where it is not a list of numbers."""
    if not re.fullmatch(r"\d{1,5}(,\d{1,5})*", resolutions):
        return set()
    divisors = {size // int(part) for part in resolutions.split(",") if int(part)}
    return {level for level in range(16) if 1 << level in divisors}


def _config(seen, settings, where):
    """Return the AdmConfig, whose limits of the noise level are not yet those of its schedule."""
    size, steps = settings["image_size"], settings["diffusion_steps"]
    heads = settings["num_heads"] if settings["num_head_channels"] == -1 else 0
    return AdmConfig.from_kwargs({
        "img_resolution": size, "label_dim": seen["classes"], "model_channels": seen["num_channels"],
        "channel_mult": seen["mults"], "channel_mult_emb": seen["emb"], "num_blocks": seen["num_res_blocks"],
        "attn_resolutions": sorted((size >> level for level in seen["attention"]), reverse=True), "dropout": 0.0,
        "precond": settings["noise_schedule"], "M": steps, "out_channels": seen["out"],
        "time_scale": 1000 / steps if settings["rescale_timesteps"] and steps > 0 else 1.0, "num_heads": heads,
        "head_channels": 64 if heads else settings["num_head_channels"], "group_channels": 1}, where)


def _names(config):
    """Return {state-dict name in EDM: in guided-diffusion} of a network, without its filters."""
    encoder, decoder = encoder_parts(config), decoder_parts(config)
    places = {part.module: f"input_blocks.{index}" for index, part in enumerate(encoder)}
    blocks, attends = 0, False
    for part in decoder[2:]:
        if part.kind == "up":  # the last entry of the block before
            places[part.module] = f"output_blocks.{blocks - 1}.{1 + attends}"
        else:
            places[part.module], attends = f"output_blocks.{blocks}", part.attention
            blocks += 1
    places[decoder[0].module], places[decoder[1].module] = "middle_block", "middle_block.2"
    names = {"map_layer0": "time_embed.0", "map_layer1": "time_embed.2", "out_norm": "out.0", "out_conv": "out.2"}
    for part in [*encoder, *decoder]:
        place = places[part.module]
        if part.kind == "conv":
            names[part.module] = f"{place}.0"
            continue
        block = place if part.kind == "up" or place == "middle_block.2" else f"{place}.0"
        inner = {**RESIDUAL, **({"skip": "skip_connection"} if part.channels_in != part.channels_out else {})}
        names |= {f"{part.module}.{own}": f"{block}.{theirs}" for own, theirs in inner.items()}
        if part.attention:
            names |= {f"{part.module}.{own}": f"{place}.1.{theirs}" for own, theirs in ATTENDING.items()}
    names = {f"model.{own}.{kind}": f"{theirs}.{kind}" for own, theirs in names.items() for kind in ("weight", "bias")}
    return names | ({"model.map_label.weight": "label_emb.weight"} if config.label_dim else {})


def _check_names(expected, state, where):
    missing, unexpected = sorted(set(expected) - set(state)), sorted(set(state) - set(expected))
    if missing or unexpected:
        what = f"'{missing[0]}' is missing" if missing else f"'{unexpected[0]}' is not part of this network"
        raise InputError(f"{what} ({len(missing)} missing, {len(unexpected)} unexpected)", where=where,
                         do="Copy or download the file again")


def _converted(name, tensor, config, new_order, where):
    """Return an entry as EDM has it: labels as columns, 1x1 convolutions, rows of q, k, v by head, channel and kind."""
    if name == "model.map_label.weight":
        return tensor.movedim(-1, 0)
    if ".qkv." not in name and ".proj." not in name:
        return tensor
    rows, rest = (*tensor.shape, 0)[0], tensor.shape[1:]
    channels = rows // 3 if ".qkv." in name else rows
    heads = config.heads(channels)
    if tensor.dim() not in (1, 3) or not heads or rows % channels or channels % heads \
            or not config.num_heads and channels % config.head_channels:
        raise InputError(f"'{name}' of shape {tuple(tensor.shape)} does not divide into attention heads of "
                         f"{config.head_channels if not config.num_heads else f'1 / {config.num_heads}'} channels",
                         where=where, do="Give the flags of the network's training")
    if ".qkv." in name:
        form = (3, heads, channels // heads) if new_order else (heads, 3, channels // heads)
        tensor = tensor.reshape(*form, *rest).movedim(0 if new_order else 1, 2).reshape(3 * channels, *rest)
    return tensor[..., None] if tensor.dim() == 3 else tensor
