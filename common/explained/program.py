"""Any program as an explained model: TorchScript modules, torch.export programs, DeepLabV3, with objectives of words.

Beyond the trial of common/explained/pictures.py a program without a derivative with respect to the picture is refused.
"""

import torch
import torch.nn.functional as F

from common import console
from common.errors import InputError
from common.explained.model import Explained
from common.explained.objective import COUNT_SCALE, logit
from common.explained.pictures import SIDE, PictureProgram
from common.files import fingerprint

OF_LOGITS = ("attribute", "class", "share")  # kinds of objectives
GRID = 8  # side of the features that stand for a dense output


class Program(PictureProgram, Explained):
    """A program of pictures with objectives on one of its outputs; see PictureProgram.

    objectives: [Objective].  kind: what is said of it in a record.
    """

    def __init__(self, run, path, kind, objectives, size=None, value_range="signed", output=None, trial_size=None,
                 device="cpu"):
        super().__init__(run, path, size, value_range, output, device)
        self.objectives = list(objectives)
        self.names = tuple(each.word for each in objectives)
        self.description = {"kind": kind, "objectives": list(self.names), "output": output, "range": value_range,
                            **fingerprint(path)}
        self._try(trial_size or size or (SIDE, SIDE))

    def values(self, images):
        """See Explained."""
        output = self.outputs(images)
        return torch.stack([each.value(output) for each in self.objectives], dim=1)

    def scores(self, values):
        """Return shares and confidences as they are searched, probabilities of logits, of values (B, A)."""
        columns = []
        for place, each in enumerate(self.objectives):
            value = values[:, place]
            if each.kind == "count":
                columns.append(value / COUNT_SCALE + each.threshold)
            else:
                shift = 0.0 if each.kind in ("attribute", "class") else logit(each.threshold)
                columns.append((value + shift).sigmoid())
        return torch.stack(columns, dim=1)

    @torch.no_grad()
    def decided(self, images):
        """See Explained: of a segmentation the largest class of each pixel counts, of detections those above 1/2."""
        output = self.outputs(images)
        return torch.stack([each.decided(output) for each in self.objectives], dim=1)

    def features(self, images):
        """Return the output itself (B, F): numbers as they are, dense ones pooled to an 8 x 8 grid."""
        output = self.outputs(images)
        if output.dim() == 4:
            output = F.adaptive_avg_pool2d(output, min(GRID, *output.shape[2:]))
        return output.flatten(1)

    def _try(self, size):
        """Run a trial; raise InputError for a program that cannot be explained."""
        images, output = self.trial(size, self._check_objectives)
        self._check_derivative(images, output)

    def _check_objectives(self, output):
        for each in self.objectives:
            each.check(output, self.path)
        of_logits = [each.kind for each in self.objectives if each.kind in OF_LOGITS]
        if of_logits and output.numel() and bool(((output >= 0) & (output <= 1)).all()):
            console.say(f"note: {self.path}: its outputs lie between 0 and 1, as probabilities do; {of_logits[0]} is "
                        "taken of logits: export it without its last sigmoid or softmax")

    def _check_derivative(self, images, output):
        values = torch.stack([each.value(output) for each in self.objectives])
        gradient = None
        if values.requires_grad:
            each = torch.arange(1.0, len(values) + 1, device=values.device)[:, None]  # no two objectives cancel out
            gradient, = torch.autograd.grad((each * values).sum(), images, allow_unused=True)
        if gradient is None or not bool(gradient.isfinite().all()) or not bool(gradient.abs().max() > 0):
            what = "is not finite" if gradient is not None and not bool(gradient.isfinite().all()) else "is none"
            raise InputError(f"its derivative with respect to the picture {what}", where=self.path,
                             do="Export it without optimize_for_inference, freezing or torch.no_grad, and with scores "
                             "rather than decisions as outputs")
