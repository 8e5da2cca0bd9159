"""Sampling as a library: from a loaded model and global image numbers to images."""

from dataclasses import dataclass

from common.diffusion.denoiser import CountedCalls, ScoreDenoiser
from common.diffusion.edm_samplers import sample_heun
from common.diffusion.noise import UnitNoise
from common.diffusion.schedules import karras_sigmas
from common.diffusion.score_samplers import PCOptions, sample_multistep, sample_ode, sample_pc
from common.errors import InputError
from common.images.pixels import to_uint8

LOOK = 50  # network calls between two looks at the numbers of a chain


def pc_options(sampling, coupling="image"):
    """Return the PCOptions of a configuration's `sampling` section."""
    names = ("snr", "n_steps_each", "noise_removal", "last_step_snr", "probability_flow")
    return PCOptions(predictor=sampling["predictor"] or "none", corrector=sampling["corrector"] or "none",
                     coupling=coupling, **{name: sampling[name] for name in names})


def not_finite(path, when=""):
    """Return the InputError of samples that are not finite. path: the checkpoint.  when: more words."""
    return InputError(f"the samples are not finite{when}", where=path,
                      do="The network may be broken or untrained; try another checkpoint or method")


class Watched:
    """A score whose result is looked at every LOOK calls: a chain of thousands that diverges ends early, with an
    InputError."""

    def __init__(self, score, path):
        self.score, self.path, self.made = score, path, 0

    def __call__(self, x, sigma):
        self.made += 1
        result = self.score(x, sigma)
        if self.made % LOOK == 0 and not bool(result.isfinite().all()):
            raise not_finite(self.path, f": the score at network call {self.made}")
        return result


@dataclass
class Sampler:
    """A method with its settings (a configuration's `sampling` section) for one model."""

    model: object  # a models.LoadedModel
    sampling: dict
    coupling: str = "image"

    @property
    def steps(self):
        """Number of steps of one batch, None for an adaptive solver."""
        return {"pc": self.sampling["num_scales"], "ode": None}.get(self.sampling["method"], self.sampling["num_steps"])

    def __call__(self, seed, indices, device, advance=None):
        """Return (uint8 images (n, H, W, C), network calls per image (n,)) for global image numbers `indices`."""
        x, calls = self.draw(seed, indices, device, advance)
        return to_uint8(x, "unit"), calls

    def draw(self, seed, indices, device, advance=None):
        """Return (samples (n, C, H, W) float32 before clipping, calls per image (n,)); InputError when not finite."""
        model = self.model
        # The solver of the ODE tries steps that are too long, whose values it throws away.
        score = Watched(model.score, model.path) if self.sampling["method"] != "ode" else model.score
        counted = CountedCalls(score, len(indices))
        noise = UnitNoise(seed, indices, model.image_shape, device)
        x = self._sample(ScoreDenoiser(counted), noise, advance).float()
        if not bool(x.isfinite().all()):
            raise not_finite(model.path)
        # The last, noiseless step after the solver does not count, as in the original.
        removal = self.sampling["method"] == "ode" and self.sampling["noise_removal"]
        return x, counted.calls.numpy() - int(removal)

    def _sample(self, denoise, noise, advance):
        """Return the samples of the method."""
        settings, sde = self.sampling, self.model.sde
        if settings["method"] == "pc":
            sigmas = sde.reverse_sigmas(settings["num_scales"])
            return sample_pc(denoise, noise, sigmas, pc_options(settings, self.coupling), sde, advance=advance)
        if settings["method"] == "ode":
            sigmas = [sde.sigma_max, sde.sigma_min, *([0.0] if settings["noise_removal"] else [])]
            return sample_ode(denoise, noise, sigmas, settings["rtol"], settings["atol"], sde.eps, self.coupling)
        top = settings["sigma_max"] or sde.sigma_max
        sigmas = karras_sigmas(settings["num_steps"], sde.sigma_min, top, settings["rho"])
        if settings["method"] == "heun":
            return sample_heun(denoise, noise, sigmas, advance=advance)
        return sample_multistep(denoise, noise, sigmas, settings["eta"], advance)
