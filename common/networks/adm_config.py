"""The configuration of an ADM network and the names of its layers; without torch, so that flags are checked at once.

Follows NVlabs/edm (`training/networks.py`, classes DhariwalUNet and EDMPrecond; Karras et al. 2022, Dhariwal and Nichol
2021) and the layer names of the activation tools built on DMD2.
"""

import re
from dataclasses import asdict, dataclass, fields

from common.errors import InputError, Parameter, nearest

PRECONDITIONINGS = ("edm", "iddpm", "linear", "cosine")  # all but edm: noise prediction, see adm_discrete
PUBLISHED = {"img_resolution": 64, "img_channels": 3, "label_dim": 1000, "dropout": 0.0}  # ImageNet-64 of EDM and DMD2


@dataclass(frozen=True)
class AdmConfig:
    """The constructor's arguments under their published names; the defaults are EDM's.

    EDM's own `use_fp16` only records how the network was trained, and is dropped. From `precond` on they are those of
    EDM's iDDPMPrecond and of guided-diffusion's networks, at values that describe EDM's.
    """

    img_resolution: int
    img_channels: int = 3
    label_dim: int = 0  # number of classes; 0: unconditional
    sigma_min: float = 0.0  # limits of the noise levels that the network accepts
    sigma_max: float = float("inf")
    sigma_data: float = 0.5
    augment_dim: int = 0  # width of EDM's augmentation labels; 0: the network takes none
    model_channels: int = 192
    channel_mult: tuple = (1, 2, 3, 4)  # channels per level, in units of model_channels
    channel_mult_emb: int = 4
    num_blocks: int = 3
    attn_resolutions: tuple = (32, 16, 8)
    dropout: float = 0.10
    label_dropout: float = 0.0  # share of label rows zeroed in training
    precond: str = "edm"
    M: int = 1000  # number of discrete noise levels
    C_1: float = 0.001  # iddpm: least ratio of consecutive alpha_bar
    C_2: float = 0.008  # iddpm: offset of the cosine
    time_scale: float = 1.0  # factor of the step's number that the network is given
    out_channels: int = 0  # of the network; 0: img_channels. Those above img_channels are variances, which are not used
    head_channels: int = 64  # channels per attention head, EDM's channels_per_head
    num_heads: int = 0  # attention heads of every block; 0: by head_channels
    group_channels: int = 4  # least channels per normalisation group, of which there are at most 32

    @classmethod
    def from_kwargs(cls, values, where):
        """Return the AdmConfig of EDM's constructor arguments {name: plain value}; InputError for invalid ones."""
        values = dict(values)
        kind = values.pop("model_type", "DhariwalUNet")
        if kind != "DhariwalUNet":
            raise InputError(f"the network is a {kind}; only DhariwalUNet (ADM) is supported", where=where,
                             do="Use an ADM network, such as edm-imagenet-64x64-cond-adm.pkl")
        values.pop("use_fp16", None)
        known = {field.name: field for field in fields(cls)}
        for name in values:
            if name not in known:
                raise InputError(f"unknown network argument '{name}'", where=where,
                                 do=nearest(name, known))
        try:
            return cls(**{name: _converted(known[name], value) for name, value in values.items()})._checked()
        except (TypeError, ValueError, OverflowError) as error:
            do = "Use the published file"
            raise InputError(f"invalid network configuration ({error})", where=where, do=do) from error

    def to_kwargs(self):
        """Return the arguments as JSON has them: lists for tuples, "inf" for infinity; see from_kwargs."""
        names = [field.name for field in fields(self)]
        own = names[names.index("precond"):]  # left out at EDM's values, as EDM has no such arguments
        values = {name: list(value) if isinstance(value, tuple) else value for name, value in asdict(self).items()
                  if name not in own or value != type(self).__dataclass_fields__[name].default}
        return {name: "inf" if value == float("inf") else value for name, value in values.items()}

    def width(self, level):
        """Return the channels of a level."""
        return int(self.model_channels * self.channel_mult[level])

    def heads(self, channels):
        """Return the number of attention heads of a block that attends; 0: it has too few channels for one."""
        return self.num_heads or channels // self.head_channels

    def groups(self, channels):
        """Return the number of normalisation groups."""
        return min(32, channels // self.group_channels)

    def _checked(self):
        counts = (self.img_resolution, self.img_channels, self.model_channels, self.channel_mult_emb, self.num_blocks,
                  self.M, self.head_channels, self.group_channels)
        if not self.channel_mult or min(counts) < 1 or max(counts) > 1 << 16 or len(self.channel_mult) > 16:
            raise ValueError("a size is out of range")
        fraction = [mult for mult in self.channel_mult if int(mult) != mult]
        if fraction and self.precond in ("edm", "iddpm"):
            raise ValueError(f"expected an integer, not {fraction[0]}")
        widths = [self.model_channels * mult for mult in self.channel_mult]
        if min(widths) < 1 or max(widths) > 1 << 16 or any(int(width) != width for width in widths):
            raise ValueError(f"channel_mult {self.channel_mult} does not give whole numbers of channels in range")
        if self.precond not in PRECONDITIONINGS:
            raise ValueError(f"precond '{self.precond}' is none of {', '.join(PRECONDITIONINGS)}")
        if self.out_channels not in (0, self.img_channels, 2 * self.img_channels) or not 0 <= self.num_heads <= 1 << 16:
            raise ValueError("out_channels or num_heads is out of range")
        if not (0 < self.C_1 < 1 and 0 < self.C_2 < 1 and 0 < self.time_scale <= 1e6):
            raise ValueError("C_1, C_2 or time_scale is out of range")
        if self.precond == "linear" and self.M <= 20:
            raise ValueError(f"the linear schedule needs more than 20 steps, not {self.M}")
        widest = self.model_channels * max(*self.channel_mult, self.channel_mult_emb)
        if widest > 1 << 16 or len(self.channel_mult) * self.num_blocks > 256:  # building must not take minutes
            raise ValueError(f"{widest} channels or {self.num_blocks} blocks per level are out of range")
        if not 0 <= self.label_dim <= 1 << 24 or not 0 <= self.augment_dim <= 1 << 16:
            raise ValueError("label_dim or augment_dim is out of range")
        if self.img_resolution % 2 ** (len(self.channel_mult) - 1):
            raise ValueError(f"{self.img_resolution} pixels cannot be halved {len(self.channel_mult) - 1} times")
        if self.model_channels % 2 or self.model_channels < 4:
            raise ValueError(f"model_channels {self.model_channels} is odd or too small")
        for part in [*encoder_parts(self)[1:], *decoder_parts(self)]:
            for channels in (part.channels_in, part.channels_out):
                if channels < self.group_channels or channels % self.groups(channels):
                    raise ValueError(f"{channels} channels are not divisible into normalisation groups")
            if part.attention and part.channels_out % max(self.heads(part.channels_out), 1):
                raise ValueError(f"{part.channels_out} channels are not divisible into attention heads")
        if not (self.sigma_data > 0 and 0 <= self.sigma_min < self.sigma_max):
            raise ValueError("expected 0 <= sigma_min < sigma_max and sigma_data > 0")
        if not (0 <= self.dropout < 1 and 0 <= self.label_dropout <= 1):
            raise ValueError("a dropout rate is outside [0, 1)")
        return self


def _converted(field, value):
    if field.type in (tuple, "tuple"):
        fractions = field.name == "channel_mult"  # guided-diffusion's 512-pixel network begins with half
        return tuple(float(item) if fractions and item != int(item) else _integer(item) for item in value)
    if field.type in (str, "str"):
        return str(value)
    return float(value) if field.type in (float, "float") else _integer(value)


def _integer(value):
    if isinstance(value, str) or int(value) != value:
        raise ValueError(f"expected an integer, not {value!r}")
    return int(value)


@dataclass(frozen=True)
class Part:
    """One entry of the network's `enc` or `dec`."""

    module: str  # its path, as `enc.64x64_block0`
    kind: str  # conv, block, down or up
    channels_in: int  # of its input, the skip connection included
    channels_out: int
    resolution: int  # of its output
    attention: bool = False  # requested; a block with fewer channels than a head has no head, hence no attention
    takes_skip: bool = False

    @property
    def shape(self):
        """Shape (C, H, W) of the output."""
        return self.channels_out, self.resolution, self.resolution


def encoder_parts(config):
    """Return the Parts of `enc` in order; the output of each goes to the decoder as a skip connection."""
    parts, channels = [], config.img_channels
    for level in range(len(config.channel_mult)):
        size, width = config.img_resolution >> level, config.width(level)
        if level == 0:
            parts.append(Part(f"enc.{size}x{size}_conv", "conv", channels, width, size))
            channels = width
        else:
            parts.append(Part(f"enc.{size}x{size}_down", "down", channels, channels, size))
        for index in range(config.num_blocks):
            attention = size in config.attn_resolutions
            parts.append(Part(f"enc.{size}x{size}_block{index}", "block", channels, width, size, attention))
            channels = width
    return parts


def decoder_parts(config):
    """Return the Parts of `dec` in order."""
    skips = [part.channels_out for part in encoder_parts(config)]
    parts, channels = [], skips[-1]
    for level in reversed(range(len(config.channel_mult))):
        size, width = config.img_resolution >> level, config.width(level)
        if level == len(config.channel_mult) - 1:
            parts.append(Part(f"dec.{size}x{size}_in0", "block", channels, channels, size, attention=True))
            parts.append(Part(f"dec.{size}x{size}_in1", "block", channels, channels, size))
        else:
            parts.append(Part(f"dec.{size}x{size}_up", "up", channels, channels, size))
        for index in range(config.num_blocks + 1):
            attention = size in config.attn_resolutions
            parts.append(Part(f"dec.{size}x{size}_block{index}", "block", channels + skips.pop(), width, size,
                              attention, True))
            channels = width
    return parts


def named_parts(config):
    """Return {layer name: Part} of every valid layer name, in the order of the forward pass.

    encoder_block_N and decoder_block_N count all entries of `enc` and `dec`; encoder_bottleneck is the last of `enc`,
    midblock the first of `dec`.
    """
    encoder, decoder = encoder_parts(config), decoder_parts(config)
    names = {f"encoder_block_{index}": part for index, part in enumerate(encoder)}
    names |= {"encoder_bottleneck": encoder[-1], "midblock": decoder[0]}
    return names | {f"decoder_block_{index}": part for index, part in enumerate(decoder)}


def check_layers(config, names, where=None):
    """Return {name: Part} of the requested layers, in the order of the forward pass; InputError for an unknown name."""
    known = named_parts(config)
    for name in names:
        if name not in known:
            encoder, decoder = (sum(key.startswith(f"{side}_block_") for key in known)
                                for side in ("encoder", "decoder"))
            do = (f"This network has encoder_block_0 .. encoder_block_{encoder - 1}, encoder_bottleneck, midblock, "
                  f"decoder_block_0 .. decoder_block_{decoder - 1}")
            raise InputError(f"unknown layer '{name}'", where=where or Parameter("layers"),
                             do=nearest(name, known, do))
    return {name: part for name, part in known.items() if name in set(names)}


def deduce_config(shapes, where):
    """Return the AdmConfig whose network has the entries {state-dict name: shape}, names beginning with `model.`.

    Dropout and the noise limits leave no trace in the weights and take EDM's values (dropout 0). Nor does attention
    that is requested but has no head (fewer than 64 channels), which makes no difference. With an entry `u`, the noise
    levels, the network has the preconditioning of iDDPM; without, EDM's.
    Raises InputError when the entries are not those of an ADM network.
    """
    if any("_aux_" in name for name in shapes):
        raise _foreign(shapes, where)
    first = [name for name in shapes if re.fullmatch(r"model\.enc\.(\d+)x\1_conv\.weight", name)]
    if len(first) != 1 or len(shapes[first[0]]) != 4 or len(shapes.get("model.map_layer0.weight", ())) != 2:
        raise _foreign(shapes, where)
    size = int(re.search(r"(\d+)x", first[0]).group(1))
    embedding, channels = shapes["model.map_layer0.weight"]
    widths, blocks, attention = [], {}, set()
    for level in range(16):
        resolution = size >> level
        name = f"model.enc.{resolution}x{resolution}_block0.conv0.weight"
        if name not in shapes or resolution == 0:
            break
        widths.append(shapes[name][0])
        pattern = rf"model\.enc\.{resolution}x{resolution}_block\d+\.conv0\.weight"
        blocks[resolution] = sum(bool(re.fullmatch(pattern, name)) for name in shapes)
        if f"model.enc.{resolution}x{resolution}_block0.qkv.weight" in shapes:
            attention.add(resolution)
    if not widths or any(width % channels for width in widths) or embedding % channels:
        raise _foreign(shapes, where)
    return AdmConfig.from_kwargs({
        "img_resolution": size, "img_channels": shapes[first[0]][1], "model_channels": channels,
        "label_dim": _columns(shapes, "model.map_label.weight"),
        "augment_dim": _columns(shapes, "model.map_augment.weight"),
        "channel_mult": [width // channels for width in widths], "channel_mult_emb": embedding // channels,
        "num_blocks": blocks[size], "attn_resolutions": sorted(attention, reverse=True), "dropout": 0.0,
        **_preconditioning(shapes, shapes[first[0]][1], where),
    }, where)


def _preconditioning(shapes, img_channels, where):
    """Return the arguments that an entry `u` and the network's last entry tell; {} for EDM's preconditioning."""
    outputs = shapes.get("model.out_conv.bias", (img_channels,))
    if len(shapes.get("u", ())) == 1 and shapes["u"][0] > 1:
        return {"precond": "iddpm", "M": shapes["u"][0] - 1, "out_channels": outputs[0]}
    if outputs == (2 * img_channels,):
        raise InputError(f"the network has {outputs[0]} output channels, as under iDDPM's preconditioning, but not its "
                         "noise levels (entry 'u')", where=where, do="Give the whole network")
    return {}


def _columns(shapes, name):
    return shapes[name][1] if len(shapes.get(name, ())) == 2 else 0


def _foreign(shapes, where):
    """Return the InputError for entries of another network."""
    if any("_aux_" in name for name in shapes):
        what = "these are the weights of a SongUNet (DDPM++ or NCSN++), not of an ADM network"
    else:
        what = f"these are not the weights of an ADM network (first entry: '{next(iter(shapes), None)}')"
    do = "Use EDM's or DMD2's ImageNet-64 network, or one of the same kind (entries model.enc.64x64_conv.weight ...)"
    return InputError(what, where=where, do=do)
