"""Score models as generators: a checkpoint of qc_ncsn, sampled as `qc_ncsn sample` does, before rounding to bytes."""

from common.diffusion.score_sampling import Sampler
from common.errors import InputError, Parameter
from common.generators import Generator
from common.score.config import preset
from common.score.models import LoadedModel
from common.score.ranges import check_config, sampling_rules

STEPS = {"multistep": "num_steps", "pc": "num_scales", "ode": None}  # the entry of `sampling` that a number of steps is


def open_file(path, device, *, config=None, weights="ema", method="multistep", num_steps=None):
    """Return the generator of a checkpoint.

    config: a preset's name, for checkpoints that do not name theirs.  weights: ema or raw.  method: multistep, pc or
    ode.  num_steps: steps of the first two, one and two network calls each; the configuration's when not given.
    """
    if method not in STEPS:
        raise InputError("no such sampler", where=Parameter("method", method), do=f"Use {', '.join(STEPS)}")
    if num_steps is not None and STEPS[method] is None:
        raise InputError("the ODE's solver chooses its steps itself", where=Parameter("num_steps"), do="Leave it out")
    model = LoadedModel(path, check_config(preset(config)) if config else None, weights, device)
    sampling = {**model.config["sampling"], "method": method}
    if num_steps is not None:
        sampling[STEPS[method]] = num_steps
    for good, name, what in sampling_rules(sampling, model.config["model"]):
        if not good:
            asked = name == f"sampling.{STEPS[method]}" and num_steps is not None
            raise InputError(what, where=Parameter("num_steps", num_steps) if asked else f"{path}: {name}",
                             do="Correct the value")
    return ScoreGenerator(model, sampling, device)


class ScoreGenerator(Generator):
    """Samples of a score model; image i is the one that `qc_ncsn sample` makes of (seed, i)."""

    def __init__(self, model, sampling, device):
        self.sampler, self.device = Sampler(model, sampling), device
        how = {"weights": model.weights, "method": sampling["method"]}
        how |= {"num_steps": self.sampler.steps} if self.sampler.steps else {name: sampling[name]
                                                                             for name in ("rtol", "atol")}
        super().__init__("ncsnpp", model.path, model.image_shape[1:], **how)

    def generate(self, indices, seed):
        """See Generator."""
        x, _ = self.sampler.draw(seed, indices, self.device)
        return (x.float() * 255).clamp(0, 255)
