"""The sizes and constants of a BlobGAN, to and from the `hyper_parameters` of its checkpoints.

The defaults are those of blobgan40 (256 x 512, 40 blobs). What a file's nested dictionaries leave out has the defaults
of the original's classes, which are others: a network is built from its own file, never from a preset.
"""

from dataclasses import dataclass, field, fields
from typing import Optional

from common.errors import InputError

LARGEST_SIDE, MOST_LAYERS, MOST_BLOBS, WIDEST = 1024, 64, 10_000, 1 << 20
LAMBDAS = {"D_real": 1, "D_fake": 1, "D_R1": 50, "G": 1, "G_path": 2, "G_feature_mean": 10, "G_feature_variance": 10}
NETWORK = "A network cannot be built from this file"
OFF = ("shuffle_features", "feature_dropout", "p_swap_style")  # change layouts at random; no published model has them
NAMES = {"generator": "models.networks.layoutstylegan.LayoutStyleGANGenerator",
         "layout_net": "models.networks.layoutnet.LayoutGenerator", "discriminator": "StyleGANDiscriminator"}


@dataclass(frozen=True)
class BlobGANConfig:
    """What a BlobGAN is built from, and what its training is described by; names as in the original's files.

    generator_channels, discriminator_channels: {height: channels}, in place of the rule of c_model and of
    channel_multiplier.  override_c_in: channels of the feature grid; None: those of size_in.  other: further entries
    of hyper_parameters, unchanged.
    """

    n_features: int = 40
    noise_dim: int = 512
    dim: int = 256
    resolution: int = 256
    aspect_ratio: float = 2
    feature_dim: int = 256
    size_in: int = 8
    c_model: int = 96
    override_c_in: Optional[int] = 256
    channel_multiplier: int = 2
    n_mlp: int = 8
    lr_mlp: float = 0.01
    mlp_n_layers: int = 8
    mlp_hidden_dim: int = 1024
    mlp_lr_mul: float = 0.01
    norm_features: bool = True
    spatial_style: bool = True
    detach_covs: bool = True
    ab_norm: float = 0.02
    generator_channels: Optional[dict] = None
    discriminator_multiplier: float = 2
    discriminator_channels: Optional[dict] = None
    n_features_min: Optional[int] = None
    n_features_max: Optional[int] = None
    feature_jitter_xy: float = 0.04
    feature_jitter_shift: float = 0.5
    feature_jitter_angle: float = 0.1
    lr: float = 0.002
    eps: float = 1e-5
    D_reg_every: int = 16
    G_reg_every: int = -1
    accumulate: bool = True
    lambdas: dict = field(default_factory=lambda: dict(LAMBDAS))
    other: dict = field(default_factory=dict)

    @property
    def num_blobs(self):
        """Number of blobs of the pictures: the first of those that the layout network gives, where they are fewer."""
        return min(self.n_features_max or self.n_features, self.n_features)

    @property
    def columns(self):
        """Columns of the pictures."""
        return int(self.size_in * self.aspect_ratio) * (self.resolution // self.size_in)

    @property
    def transform(self):
        """The SquashOrCrop that brought the training's images to the network's size, and brings those of an encoder, an
        inversion and an evaluation there. Published files do not tell: they were squashed, squares cropped."""
        from common.images.squash import FITS, for_network

        stored = self.other.get("transform")
        fit = stored.get("fit") if isinstance(stored, dict) else None
        return for_network(self.resolution, self.aspect_ratio, *([fit] if fit in FITS else []))

    @property
    def jitter(self):
        """The Jitter of the training."""
        from common.networks.blobgan.splat import Jitter

        return Jitter(self.feature_jitter_xy, self.feature_jitter_angle, self.feature_jitter_shift)

    def channels(self):
        """Return the generator's {height: channels}."""
        if self.generator_channels:
            return {int(height): int(count) for height, count in self.generator_channels.items()}
        model, multiplier = self.c_model, self.channel_multiplier
        return {**dict.fromkeys((4, 8, 16, 32), 8 * model), 64: 4 * model * multiplier, 128: 2 * model * multiplier,
                256: model * multiplier, 512: model // 2 * multiplier, 1024: model // 4 * multiplier}

    def discriminator_widths(self):
        """Return the discriminator's and encoder's {height: channels}, from 4 rows to the pictures'."""
        from common.networks.blobgan.discriminator import body_channels

        rule = {height: int(count) for height, count in
                body_channels(self.resolution, self.discriminator_multiplier).items()}
        given = self.discriminator_channels or {}
        return {height: int(given.get(height, given.get(str(height), count))) for height, count in rule.items()}

    def layout_net(self):
        """Return a new layout network."""
        from common.networks.blobgan.layout import LayoutNet

        return LayoutNet(self.n_features, self.noise_dim, self.feature_dim, self.dim, self.mlp_hidden_dim,
                         self.mlp_n_layers, self.mlp_lr_mul, self.norm_features, self.spatial_style, self.detach_covs)

    def generator(self):
        """Return a new generator."""
        from common.networks.blobgan.generator import BlobGenerator

        channels = self.channels()
        return BlobGenerator(channels, self.resolution, self.size_in, self.aspect_ratio,
                             self.override_c_in or channels[self.size_in], self.dim,
                             0 if self.spatial_style else self.n_mlp, self.lr_mlp, self.ab_norm)

    def discriminator(self):
        """Return a new discriminator."""
        from common.networks.blobgan.discriminator import Discriminator

        return Discriminator(self.resolution, self.aspect_ratio, channels=self.discriminator_widths())

    def encoder(self, outputs):
        """Return a new encoder of the discriminator's body with so many outputs."""
        from common.networks.blobgan.discriminator import LayoutEncoder

        return LayoutEncoder(self.resolution, self.aspect_ratio, outputs, channels=self.discriminator_widths())

    def checked(self, where="hyper_parameters"):
        """Return itself; InputError for sizes of which no network can be built."""
        _check(self, where)
        return self

    @classmethod
    def from_hyper_parameters(cls, values, where="hyper_parameters"):
        """Return the configuration of a checkpoint's hyper_parameters (nested plain values).

        Raises InputError naming what is missing, of another kind, or cannot be had here.
        """
        return cls(**_read(values, where)).checked(where)

    def to_hyper_parameters(self):
        """Return the nested plain values of a checkpoint, which `from_hyper_parameters` reads."""
        common = {"aspect_ratio": self.aspect_ratio}
        discriminator = {"name": NAMES["discriminator"], "size": self.resolution, **common}
        if self.discriminator_multiplier != 2:
            discriminator["channel_multiplier"] = self.discriminator_multiplier
        generator = {"name": NAMES["generator"], "style_dim": self.dim, "size": self.resolution, **common,
                     **{name: getattr(self, name) for name in GENERATOR}}
        layout_net = {"name": NAMES["layout_net"], "n_features_max": self.n_features, "style_dim": self.dim, **common,
                      **{name: getattr(self, name) for name in LAYOUT_NET}}
        for place, channels in ((generator, self.generator_channels), (discriminator, self.discriminator_channels)):
            if channels:
                place["channels"] = {int(height): int(count) for height, count in channels.items()}
        if not self.detach_covs:
            layout_net["detach_covs"] = False
        most = self.n_features if self.n_features_max is None else self.n_features_max
        least = most if self.n_features_min is None else self.n_features_min
        return {"name": "BlobGAN", **{name: getattr(self, name) for name in MODEL}, "n_features_min": least,
                "n_features_max": most, "discriminator": discriminator, "generator": generator,
                "layout_net": layout_net, "λ": dict(self.lambdas), "lambda": dict(self.lambdas), **self.other}


# Names that stand in the original's dictionaries under the names used here.
MODEL = ("lr", "eps", "dim", "noise_dim", "resolution", "aspect_ratio", "D_reg_every", "G_reg_every", "spatial_style",
         "ab_norm", "feature_jitter_xy", "feature_jitter_shift", "feature_jitter_angle", "accumulate")
GENERATOR = ("n_mlp", "lr_mlp", "size_in", "c_model", "channel_multiplier", "spatial_style", "override_c_in")
LAYOUT_NET = ("noise_dim", "feature_dim", "norm_features", "mlp_n_layers", "mlp_lr_mul", "mlp_hidden_dim",
              "spatial_style")
DEFAULTS = {  # of the original's classes
    "": {"lr": 0.001, "eps": 1e-5, "D_reg_every": 16, "G_reg_every": 4, "ab_norm": 0.02, "feature_jitter_xy": 0.0,
         "feature_jitter_shift": 0.0, "feature_jitter_angle": 0.0, "accumulate": True, "n_features_min": 10,
         "n_features_max": 10},
    "generator": {"size": 256, "style_dim": 512, "n_mlp": 8, "channel_multiplier": 2, "lr_mlp": 0.01, "c_out": 3,
                  "c_model": 64, "size_in": 16, "spatial_style": False, "override_c_in": None, "aspect_ratio": 1.0,
                  "channels": None},
    "layout_net": {"noise_dim": 512, "feature_dim": 512, "style_dim": 512, "mlp_n_layers": 8, "mlp_hidden_dim": 1024,
                   "n_features_max": 5, "norm_features": False, "spatial_style": False, "mlp_lr_mul": 0.01,
                   "shuffle_features": False, "p_swap_style": 0.0, "feature_dropout": 0.0, "detach_covs": True},
    "discriminator": {"channel_multiplier": 2, "discriminate_stddev": True, "channels": None, "blur_input": False,
                      "in_channels": 3, "d_out": 1},
}
KINDS = {int: (int,), float: (int, float), bool: (bool,), dict: (dict,)}
PLAIN = (bool, int, float, str, dict, type(None))  # what an entry that is used can be


def _read(values, where):
    """Return the fields of a configuration in hyper_parameters."""
    parts = {name: _part(values, name, where) for name in ("", "generator", "layout_net", "discriminator")}
    model, generator, layout_net, discriminator = parts.values()
    for name in OFF:
        if layout_net[name]:
            raise InputError(f"layout_net.{name} is {layout_net[name]}; layouts that change at random are not "
                             "supported", where=where, do="Use a model trained without it")
    for part, name, only in (("generator", "c_out", 3), ("discriminator", "blur_input", False),
                             ("discriminator", "in_channels", 3), ("discriminator", "d_out", 1),
                             ("discriminator", "discriminate_stddev", True)):
        if parts[part][name] != only:
            raise InputError(f"{part}.{name} is {parts[part][name]!r}, only {only} is supported", where=where,
                             do="Use another model")
    if generator["style_dim"] != layout_net["style_dim"] and generator["spatial_style"]:
        raise InputError(f"generator.style_dim {generator['style_dim']} differs from layout_net.style_dim "
                         f"{layout_net['style_dim']}", where=where, do=NETWORK)
    known = {name: model[name] for name in MODEL if name in model}
    known |= {name: generator[name] for name in GENERATOR} | {name: layout_net[name] for name in LAYOUT_NET}
    known |= {name: model[name] for name in ("n_features_min", "n_features_max")}
    known |= {"dim": generator["style_dim"], "resolution": generator["size"],
              "aspect_ratio": generator["aspect_ratio"], "n_features": layout_net["n_features_max"],
              "detach_covs": layout_net["detach_covs"], "generator_channels": generator["channels"],
              "discriminator_channels": discriminator["channels"],
              "discriminator_multiplier": discriminator["channel_multiplier"]}
    lambdas = model.get("λ") or model.get("lambda") or {}
    known["lambdas"] = {**LAMBDAS, "D_R1": 5, **lambdas} if isinstance(lambdas, dict) else lambdas
    used = {*known, "generator", "layout_net", "discriminator", "λ", "lambda", "name", "dim", "noise_dim"}
    return {**known, "other": {name: value for name, value in model.items() if name not in used}}


def _part(values, name, where):
    """Return a dictionary of hyper_parameters with the defaults of its class."""
    part = values if not name else values.get(name)
    if not isinstance(part, dict) or not all(isinstance(key, str) for key in part):
        what = f"hyper_parameters have no '{name}'" if name else "it has no hyper_parameters"
        raise InputError(what, where=where, do="Give a checkpoint of BlobGAN's training")
    for key in (*DEFAULTS[name], *MODEL, "λ", "lambda"):
        if not isinstance(part.get(key), PLAIN):
            raise InputError(f"'{key}' is of type {type(part[key]).__name__}, expected a plain value", where=where,
                             do=NETWORK)
    return {**DEFAULTS[name], **part}


def _check(config, where):
    """Raise InputError for a value of another kind or size than a network can have."""
    for each in fields(config):
        value, kind = getattr(config, each.name), getattr(each.type, "__args__", (each.type,))
        if value is None and len(kind) > 1:
            continue
        if not isinstance(value, KINDS[kind[0]]) or (isinstance(value, bool) and kind[0] is not bool):
            raise InputError(f"'{each.name}' is {value!r:.40}, expected {kind[0].__name__}", where=where, do=NETWORK)
    limits = {"n_features": MOST_BLOBS, "noise_dim": WIDEST, "dim": WIDEST, "feature_dim": WIDEST,
              "mlp_hidden_dim": WIDEST, "c_model": WIDEST, "n_mlp": MOST_LAYERS, "mlp_n_layers": MOST_LAYERS,
              "channel_multiplier": WIDEST, "resolution": LARGEST_SIDE, "size_in": LARGEST_SIDE}
    limits |= {} if config.n_features_max is None else {"n_features_max": MOST_BLOBS}
    for name, most in limits.items():
        _between(name, getattr(config, name), 1, most, where)
    for name in ("aspect_ratio", "lr_mlp", "mlp_lr_mul", "ab_norm", "discriminator_multiplier"):
        _between(name, getattr(config, name), 1e-6, 1e3, where)
    if config.override_c_in is not None:
        _between("override_c_in", config.override_c_in, 1, WIDEST, where)
    for name in ("resolution", "size_in"):
        side = getattr(config, name)
        if side < 4 or side & (side - 1):
            raise InputError(f"'{name}' is {side}, expected a power of two from 4 to {LARGEST_SIDE}", where=where,
                             do=NETWORK)
    if config.size_in > config.resolution:
        raise InputError(f"size_in {config.size_in} is larger than the resolution {config.resolution}", where=where,
                         do=NETWORK)
    if config.size_in * config.aspect_ratio % 1:
        raise InputError(f"aspect_ratio {config.aspect_ratio} of a first grid of {config.size_in} rows gives no whole "
                         "number of columns", where=where, do=NETWORK)
    heights = [1 << power for power in range(2, 11) if 4 <= 1 << power <= config.resolution]
    _check_channels(config, heights, where)
    _check_inputs(config, where)


def _check_channels(config, heights, where):
    for name, channels in (("generator_channels", config.generator_channels),
                           ("discriminator_channels", config.discriminator_channels)):
        if channels is None:
            continue
        needed = [height for height in heights if name.startswith("d") or height >= config.size_in]
        given = {str(height): count for height, count in channels.items()}
        wrong = next((height for height in given if not height.isdecimal()), None)
        if wrong is not None:
            raise InputError(f"'{name}' has a height of '{wrong:.20}'", where=where, do=NETWORK)
        for height in needed:
            if not isinstance(given.get(str(height)), int):
                raise InputError(f"'{name}' has no number of channels for height {height}", where=where, do=NETWORK)
            _between(f"{name} {height}", given[str(height)], 1, WIDEST, where)


def _check_inputs(config, where):
    grid = config.override_c_in or config.channels()[config.size_in]
    if grid != config.feature_dim:
        name = "generator.override_c_in" if config.override_c_in else f"channels at height {config.size_in}"
        raise InputError(f"{name} {grid} differs from layout_net.feature_dim {config.feature_dim}", where=where,
                         do="Set both to the same value")
    if not config.spatial_style and config.noise_dim != config.dim:
        raise InputError(f"without spatial style noise_dim {config.noise_dim} must equal dim {config.dim}",
                         where=where, do=NETWORK)


def _between(name, value, least, most, where):
    if not least <= value <= most:
        raise InputError(f"'{name}' is {value}, expected {least:,} to {most:,}", where=where, do=NETWORK)
