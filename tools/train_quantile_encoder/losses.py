"""The losses of a part of a batch, summed over its rows."""

import torch
import torch.nn.functional as F

from common.networks.arcface import crop_faces, identity_distance
from common.training.pinball import quantile_losses

IMAGE = {"l2": "l2_lambda", "lpips": "lpips_lambda", "id": "id_lambda", "l2_crop": "l2_lambda_crop",
         "lpips_crop": "lpips_lambda_crop"}  # name in the log -> flag with its weight


class Losses:
    """The objective of predictions and what the log shows of it.

    names: of the values, "loss" first.  generator: StyleGAN2 for the image losses, lpips, arcface: for two of them.
    """

    def __init__(self, options, generator=None, lpips=None, arcface=None):
        self.options, self.generator, self.lpips, self.arcface = options, generator, lpips, arcface
        self.images = {name: getattr(options, flag) for name, flag in IMAGE.items() if getattr(options, flag)}
        self.norm = options.w_norm_lambda
        self.names = ["loss", "lower", "upper", *["mse"] * options.mse, *self.images, *["w_norm"] * (self.norm > 0)]

    def __call__(self, predictions, targets, truth, weights, centre):
        """Return (objective, [values in the order of names]), summed over the rows.

        predictions: (n, 3, D) lower, point, upper, relative to the centre (D,).  targets: (n, 3, S, S) in [-1, 1], of
        use for image losses alone.  truth: (n, D), relative too; NaN rows have none.  weights: (n,), see Batches.draw.
        """
        share = weights.sum()
        values = [share * loss for loss in quantile_losses(predictions, truth, self.options.alpha)]
        if self.options.mse:
            known = ~torch.isnan(truth).any(dim=1)
            error = (predictions[known, 1] - truth[known]).square()
            values.append(share * error.sum() / max(1, error.numel()))
        objective = sum(values)
        if self.images:
            found = self._image_losses(predictions, targets, centre)
            values += found.values()
            objective = objective + sum(self.images[name] * value for name, value in found.items())
        if self.norm:
            values.append(predictions[:, 1].norm(dim=1).sum())
            objective = objective + self.norm * values[-1]
        return objective, [objective, *values]

    def _image_losses(self, predictions, targets, centre):
        """Return {name: sum over the rows of the mean over their rendered predictions}."""
        heads = predictions[:, 1:2] if self.options.no_quantile_image_loss else predictions
        count = heads.shape[1]
        side = min(self.generator.size, targets.shape[-1])
        images = F.adaptive_avg_pool2d(self.generator.synthesise(heads.flatten(0, 1) + centre), side)
        targets = F.adaptive_avg_pool2d(targets, side).repeat_interleave(count, dim=0)
        measures = {"l2": lambda: _square(images, targets), "lpips": lambda: self.lpips(images, targets),
                    "id": lambda: identity_distance(self.arcface, images, targets),
                    "l2_crop": lambda: _square(crop_faces(images), crop_faces(targets)),
                    "lpips_crop": lambda: self.lpips(crop_faces(images), crop_faces(targets))}
        return {name: measures[name]().sum() / count for name in self.images}


def _square(first, second):
    return (first - second).square().mean(dim=(1, 2, 3))
