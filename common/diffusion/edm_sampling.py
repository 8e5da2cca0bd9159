"""Sampling as a library: from a network, labels and global image numbers to images."""

from dataclasses import asdict, dataclass

from common.diffusion.denoiser import Denoiser
from common.diffusion.edm_samplers import Churn, sample_few, sample_heun
from common.diffusion.labels import class_vectors
from common.diffusion.noise import UnitNoise
from common.diffusion.schedules import check_level, karras_sigmas
from common.diffusion.score_samplers import sample_multistep
from common.errors import InputError, Parameter

METHODS = ("onestep", "fewstep", "heun", "multistep")


@dataclass(frozen=True)
class Sampling:
    """A method with its settings. A network that is not distilled needs heun (10 steps on 20 .. 0.01) or multistep."""

    method: str = "onestep"  # network calls: 1 (onestep), num_steps (fewstep, multistep), 2 num_steps - 1 (heun)
    num_steps: int = 18
    sigma_max: float = 80.0  # the first noise level, for onestep the only one
    sigma_min: float = 0.002  # the last one above 0
    rho: float = 7.0  # of the Karras schedule; EDM's value
    S_churn: float = 0.0
    S_min: float = 0.0
    S_max: float = float("inf")
    S_noise: float = 1.0
    stochastic: bool = True  # fewstep: fresh noise between levels
    eta: float = 1.0  # multistep: 0 the ODE, 1 the reverse SDE, above 1 more stochastic
    guidance: float = 1.0  # 1: none; 0: unconditional; below 0: away from the class

    def check(self, config):
        """Raise InputError for a setting that is out of range or does not fit a network's AdmConfig."""
        rules = [
            (self.method in METHODS, "method", f"use {', '.join(METHODS)}"),
            (self.num_steps >= 1, "num_steps", "expected at least 1"),
            (self.method == "onestep" or self.num_steps == 1 or self.sigma_min < self.sigma_max, "sigma_min",
             "expected less than sigma_max"),
            (0.1 <= self.rho <= 1000, "rho", "expected 0.1 to 1000"),
            (0 <= self.S_churn <= 1e6 and 0 <= self.S_noise <= 1e6, "S_churn",
             "expected S_churn and S_noise from 0 to 1e6"),
            (0 <= self.eta <= 1e6, "eta", "expected 0 to 1e6"),
            (self.guidance == 1 or config.label_dim > 0, "guidance", "the network is unconditional"),
        ]
        for name in ["sigma_max"] if self.method == "onestep" else ["sigma_max", "sigma_min"]:
            check_level(name, getattr(self, name))
        for good, name, what in rules:
            if not good:
                raise InputError(what, where=Parameter(name, getattr(self, name)), do="Correct the value")

    def sigmas(self, config):
        """Return the noise levels for a network's AdmConfig, limited to those it accepts; the last is 0."""
        low, high = max(self.sigma_min, config.sigma_min), min(self.sigma_max, config.sigma_max)
        if self.method == "onestep":
            return [high, 0.0]
        return karras_sigmas(self.num_steps, low, high, self.rho)

    def levels(self, network):
        """Return the noise levels for a network: `sigmas`, rounded to its discrete ones where it has such."""
        levels = [network.round_sigma(sigma) for sigma in self.sigmas(network.config)[:-1]] + [0.0]
        if self.method != "heun" and len(set(levels)) < len(levels):  # Heun's step of no length changes nothing
            do = f"Use at most {len(set(levels)) - 1} steps, or heun"
            raise InputError("two steps fall on one of the network's discrete noise levels",
                             where=Parameter("num_steps", self.num_steps), do=do)
        return levels

    @property
    def draws_further(self):
        """Whether noise is drawn after the start."""
        return {"onestep": False, "fewstep": self.stochastic and self.num_steps > 1, "heun": self.S_churn > 0,
                "multistep": self.eta > 0}[self.method]

    @property
    def calls(self):
        """Network calls for each image (guidance other than 0 and 1 doubles them)."""
        calls = {"onestep": 1, "heun": 2 * self.num_steps - 1}.get(self.method, self.num_steps)
        return calls if self.guidance in (0, 1) else 2 * calls

    def described(self):
        """Return {name: value} for metadata; eta only for multistep."""
        return {name: value for name, value in asdict(self).items() if name != "eta" or self.method == "multistep"}


def sample(network, sampling, seed, indices, labels=None, replace=None, advance=None, noise=None):
    """Return images (n, C, R, R) float32 in about [-1, 1] for the global image numbers `indices`.

    network: an EDMPrecond or DiscretePrecond.  sampling: a Sampling.  labels: (n,) integers, -1 for equal weights of
    all classes, or None for an unconditional pass.  Image i draws from (seed, i) alone, the start before the steps, so
    that it starts from the same noise under every method and at any batch size.  replace: see Denoiser.  advance:
    called once a step.
    noise: another source of noise, called as UnitNoise.
    Raises InputError for settings that do not fit the network, unknown classes, and images that are not finite.
    """
    sampling.check(network.config)
    device = next(network.parameters()).device
    class_labels = None if labels is None else class_vectors(labels, network.config.label_dim, device)
    noise = noise or UnitNoise(seed, indices, network.image_shape, device, ahead=1)
    denoise, sigmas = Denoiser(network, class_labels, sampling.guidance, replace), sampling.levels(network)
    if sampling.method == "heun":
        churn = Churn(sampling.S_churn, sampling.S_min, sampling.S_max, sampling.S_noise)
        images = sample_heun(denoise, noise, sigmas, churn, advance, network.round_sigma).float()
    elif sampling.method == "multistep":
        images = sample_multistep(denoise, noise, sigmas, sampling.eta, advance)
    else:
        images = sample_few(denoise, noise, sigmas, sampling.stochastic, advance=advance)
    if not bool(images.isfinite().all()):
        raise InputError("the samples are not finite",
                         do="The network may be broken or untrained; try another checkpoint")
    return images
