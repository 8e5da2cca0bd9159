"""Sampling as a library: from a loaded model and global image numbers to images."""

from dataclasses import dataclass

import numpy as np

from common.diffusion.noise import UnitNoise
from common.diffusion.schedules import karras_sigmas
from common.diffusion.score_samplers import PCOptions, sample_multistep, sample_ode, sample_pc
from common.errors import InputError
from common.images.pixels import to_uint8


def pc_options(sampling, coupling="image"):
    """Return the PCOptions of a configuration's `sampling` section."""
    names = ("num_scales", "snr", "n_steps_each", "noise_removal", "last_step_snr", "probability_flow")
    return PCOptions(predictor=sampling["predictor"] or "none", corrector=sampling["corrector"] or "none",
                     coupling=coupling, **{name: sampling[name] for name in names})


@dataclass
class Sampler:
    """A method with its settings (a configuration's `sampling` section) for one model."""

    model: object  # a models.LoadedModel
    sampling: dict
    coupling: str = "image"

    @property
    def steps(self):
        """Number of steps of one batch, or None where the solver decides."""
        return {"pc": self.sampling["num_scales"], "multistep": self.sampling["num_steps"]}.get(self.sampling["method"])

    def __call__(self, seed, indices, device, advance=None):
        """Return (uint8 images (n, H, W, C), network calls per image (n,)) for global image numbers `indices`."""
        x, calls = self.draw(seed, indices, device, advance)
        return to_uint8(x, "unit"), calls

    def draw(self, seed, indices, device, advance=None):
        """Return (samples (n, C, H, W) float32 before clipping, calls per image (n,)); InputError when not finite."""
        model, settings = self.model, self.sampling
        noise = UnitNoise(seed, indices, model.image_shape, device)
        if settings["method"] == "pc":
            x, calls = sample_pc(model.score, model.sde, noise, pc_options(settings, self.coupling), advance=advance)
        elif settings["method"] == "ode":
            start = model.sde.sigma_max * noise()
            x, calls = sample_ode(model.score, model.sde, start, settings["rtol"], settings["atol"],
                                  settings["noise_removal"], self.coupling)
            calls = calls.cpu().numpy()
        else:
            top = settings["sigma_max"] or model.sde.sigma_max
            sigmas = karras_sigmas(settings["num_steps"], model.sde.sigma_min, top, settings["rho"])
            x, calls = sample_multistep(model.score, noise, sigmas, settings["eta"], advance)
        if not bool(x.isfinite().all()):
            raise InputError("the samples are not finite", where=model.path,
                             do="The network may be broken or untrained; try another checkpoint or method")
        return x, np.broadcast_to(np.asarray(calls, np.int64), (len(indices),))
