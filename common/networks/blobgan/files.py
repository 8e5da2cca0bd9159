"""Reading and writing BlobGAN's checkpoints: Lightning's container (.ckpt), and the averaged pair as .safetensors.

Networks are built from a file's own hyper_parameters. Of a container only the pair that is asked for is read. No file
can run code.
"""

import json
from pathlib import Path

import torch
from torch import nn

from common.errors import InputError
from common.files import read_npz, write_npz
from common.formats.checkpoints import (
    is_safetensors,
    load_safetensors,
    load_strictly,
    save_safetensors,
    save_torch,
    unwrapped_state,
    weights_hash,
)
from common.formats.lightning import load_lightning
from common.networks.blobgan.configuration import BlobGANConfig
from common.networks.blobgan.layout import Blobs
from common.nn.fir import fir_kernel
from common.nn.unfilled import unfilled
from common.seeding import unit_generator

PUBLISHED = "a BlobGAN checkpoint, such as blobgan_256x512.ckpt"
ORDER = ("discriminator", "generator_ema", "generator", "layout_net_ema", "layout_net")  # of a state_dict
PAIRS = {"ema": ("generator_ema", "layout_net_ema"), "raw": ("generator", "layout_net")}
MARK = "mlp.1.weight"  # an entry that every layout network has
LIGHTNING_VERSION = "1.5.10"  # whose container this is
DRAWS = 10_000  # of the mean latent


class PairMissing(InputError):
    """The pair of weights that is asked for is not in a file."""


class BlobGAN(nn.Module):
    """A generator with its layout network, ready to render; nothing of it is trained.

    weights: "ema" or "raw", which were read.  step: of the training, or None.
    """

    def __init__(self, config, layout_net, generator, weights="ema", step=None):
        super().__init__()
        self.config, self.weights, self.step = config, weights, step
        self.layout_net, self.generator = layout_net, generator
        self._mean_latent = None
        self.eval().requires_grad_(False)

    @property
    def device(self):
        """Where the weights are."""
        return self.generator.conv1.noise.weight.device

    def check_encodable(self, where):
        """Raise InputError where a layout does not hold all of a picture. where: the file."""
        if not self.generator.is_spatial:
            raise InputError("its pictures have one style each, which no layout holds", where=where,
                             do="Use a BlobGAN with spatial_style")

    def layouts(self, z, truncation=0.0):
        """Return the Blobs of noise z ~ N(0, 1) (B, noise_dim); truncation: 0 none, 1 the mean layout."""
        latent = self.layout_net.latent(z)
        if truncation:
            latent = self.layout_net.truncate(latent, self.mean_latent(), truncation)
        blobs = self.decode(latent)
        if not self.generator.is_spatial:
            style = self.generator.style(z)[:, None].expand(-1, blobs.sizes.shape[1], -1)
            blobs = blobs._replace(spatial_style=style)
        return blobs

    @property
    def num_blobs(self):
        """Number of blobs of its pictures."""
        return self.config.num_blobs

    def decode(self, latent, mlp_idx=-1):
        """Return the Blobs of latents (B, L); mlp_idx: see LayoutNet."""
        blobs, used = self.layout_net.decode(latent, mlp_idx), self.num_blobs
        if used == self.config.n_features:
            return blobs
        cut = {"xs": used, "ys": used, "covs": used}  # the first blobs alone
        return Blobs(*(part[:, : cut.get(name, used + 1)] for name, part in blobs._asdict().items()))

    def render(self, blobs, noise="fixed"):
        """Return pictures (B, 3, S, r S), nominally in [-1, 1], of Blobs; noise: "fixed", or maps (B or 1, 1, h, w)."""
        return self.generator(blobs, None if isinstance(noise, str) and noise == "fixed" else noise)

    @torch.no_grad()
    def mean_latent(self):
        """Return the mean latent (L,) of 10,000 seeded draws, from the cache where the same weights gave one."""
        if self._mean_latent is None:
            self._mean_latent = _cached_mean(self.layout_net).to(self.device)
        return self._mean_latent


def _cached_mean(layout_net):
    """Return the mean latent; see BlobGAN.mean_latent.

    The cached file below GENPROBE_CACHE bears the weights' hash, and the factor that they are multiplied by.
    """
    from common.paths import cache_dir

    path = cache_dir() / "mean_latents" / f"{weights_hash(layout_net)[:32]}_{layout_net.mlp[1].lr_mul}_{DRAWS}.npz"
    weight = layout_net.mlp[1].weight
    try:
        found = torch.from_numpy(read_npz(path, required=("latent",))["latent"])
        if found.shape == (layout_net.latent_dim(),) and found.dtype == torch.float32 and found.isfinite().all():
            return found.to(weight.dtype)
    except InputError:  # none yet, or a damaged one
        pass
    z = torch.randn(DRAWS, layout_net.noise_dim, generator=unit_generator(0, "mean latent"))
    mean = layout_net.latent(z.to(weight)).double().mean(dim=0).float()
    path.parent.mkdir(parents=True, exist_ok=True)
    write_npz(path, compressed=False, latent=mean.cpu().numpy())
    return mean.to(weight.dtype)


def read_blobgan(path, device="cpu", weights="ema", flag="weights"):
    """Return the BlobGAN of a checkpoint on a device; its attribute `weights` says which weights were read.

    weights: "ema", the averaged ones (the live ones where the training averaged none), or "raw", the live ones.
    flag: that chooses them, for messages: weights or --weights with one of these words, else one for live weights.
    Raises InputError for a missing, damaged or foreign file, one that would run code, and what is missing by name.
    """
    path = Path(path)
    if weights not in PAIRS:
        raise InputError(f"weights '{weights}', expected ema or raw", where=path, do="Correct the value")
    state, values, step = _read_safetensors(path) if is_safetensors(path) else _read_container(path, weights)
    config = BlobGANConfig.from_hyper_parameters(values, path)
    weights = _available(state, config, weights, path, flag)
    networks = []
    for name, network in zip(PAIRS[weights], _empty_pair(config)):
        own = {key.removeprefix(f"{name}."): value for key, value in state.items() if key.startswith(f"{name}.")}
        networks.append(_loaded(network, own, path, name))
    generator, layout_net = networks
    return BlobGAN(config, layout_net, generator, weights, step).to(device)


def _empty_pair(config):
    with unfilled():  # no time and memory for initial values that would be overwritten
        return config.generator(), config.layout_net()


def _read_container(path, weights):
    """Return ({name without the container's prefix: tensor}, hyper_parameters, step) of one pair of a .ckpt."""
    try:
        value = load_lightning(path, lambda state: _pair_alone(state, weights, path))
    except InputError as error:
        if "no 'state_dict'" not in error.what:
            raise
        raise InputError("no BlobGAN in it: no 'state_dict'", where=path, do=f"Give {PUBLISHED}") from error
    if not value["state_dict"]:
        raise InputError("no BlobGAN in it: no layout network", where=path, do=f"Give {PUBLISHED}")
    step = value.get("global_step")
    return value["state_dict"], value["hyper_parameters"], step if isinstance(step, int) else None


def _pair_alone(state, weights, path):
    """Return the entries of a pair, or of the live one where averaged ones are asked for and there are none."""
    state = unwrapped_state({name: value for name, value in state.items() if isinstance(name, str)}, path)
    names = list(state)
    for pair in (weights, *(other for other in PAIRS if other != weights)):
        layout = f"{PAIRS[pair][1]}.{MARK}"
        found = [name.removesuffix(layout) for name in names if name == layout or name.endswith(f".{layout}")]
        if found:
            prefix = min(found, key=len)
            places = tuple(f"{prefix}{part}." for part in PAIRS[pair])
            return {name.removeprefix(prefix): state[name] for name in names if name.startswith(places)}
    return {}


def _read_safetensors(path):
    state, metadata = load_safetensors(path)
    state = unwrapped_state(state, path)
    try:
        values = json.loads(metadata["hyper_parameters"])
        step = json.loads(metadata.get("global_step", "null"))
    except (KeyError, ValueError, RecursionError) as error:
        raise InputError("its metadata have no 'hyper_parameters'", where=path, do=f"Give {PUBLISHED}, or a file that "
                         "train_blobgan wrote") from error
    return state, values, step if isinstance(step, int) else None


def _available(state, config, weights, path, flag):
    """Return which of the pairs a state dict holds: the one asked for, or "raw" where no average was kept."""
    held = [pair for pair, names in PAIRS.items() if any(key.startswith(f"{names[1]}.") for key in state)]
    if weights in held:
        return weights
    if weights == "ema" and not config.accumulate:
        return "raw"
    what = {"ema": "no averaged weights (generator_ema, layout_net_ema) in it",
            "raw": "no live weights (generator, layout_net) in it"}[weights]
    other = f"Pass {flag} {'raw' if weights == 'ema' else 'ema'}"
    if flag.lstrip("-") != "weights":
        other = f"Pass {flag}" if weights == "ema" else f"Leave {flag} out"
    raise PairMissing(what, where=path, do=f"{other}, or give another checkpoint")


def _loaded(network, state, path, name):
    """Return a network (on the meta device) with the weights of a file; what is missing is named."""
    own = dict(network.named_buffers())
    state = {key: value for key, value in state.items() if not key.startswith(("noises.", "input."))}
    usual = {key: _usual(key, buffer.shape) for key, buffer in own.items() if key not in state}
    try:
        load_strictly(network, {**state, **usual}, path, do=f"Give {PUBLISHED}", assign=True)
    except InputError as error:
        raise InputError(f"{name}: {error.what}", where=error.where, do=error.do) from error
    return network


def _usual(key, shape):
    """Return the usual value of a buffer: the taps of a filter, or noise that nothing uses."""
    if key.endswith(".kernel"):
        return fir_kernel(gain=4.0)
    return torch.randn(shape, generator=unit_generator(0, "stored noise", key))


def checkpoint_name(epoch, step):
    """Return the published name of a checkpoint."""
    return f"epoch={epoch}-step={step}.ckpt"


def state_dict(networks):
    """Return the state dict of networks {name: module}, in the published order, on the CPU."""
    unknown = set(networks) - set(ORDER)
    assert not unknown, unknown
    return {f"{name}.{key}": value.detach().cpu() for name in ORDER if name in networks
            for key, value in networks[name].state_dict().items()}


def write_checkpoint(path, config, networks, optimizer_states=(), epoch=0, step=0, **more):
    """Write Lightning's container of a BlobGAN, atomically; torch.load(weights_only=True) opens it.

    networks: {name of ORDER: module}.  optimizer_states: of generator and layout network, and of the discriminator.
    step: one per batch, for both optimisers together.  more: further entries of plain values and tensors.
    """
    save_torch(path, {
        "epoch": epoch, "global_step": step, "pytorch-lightning_version": LIGHTNING_VERSION,
        "state_dict": state_dict(networks), "callbacks": {}, "optimizer_states": list(optimizer_states),
        "lr_schedulers": [], "hparams_name": "kwargs", "hyper_parameters": config.to_hyper_parameters(), **more})


def write_pair(path, config, generator_ema, layout_net_ema, epoch=0, step=0):
    """Write the averaged pair as .safetensors, atomically, with the hyper-parameters as JSON in its metadata."""
    networks = {"generator_ema": generator_ema, "layout_net_ema": layout_net_ema}
    metadata = {"format": "pt", "weights": "ema", "epoch": str(epoch), "global_step": str(step),
                "hyper_parameters": json.dumps(config.to_hyper_parameters(), ensure_ascii=False)}
    save_safetensors(path, state_dict(networks), metadata)
