"""How good intervals are on images that were not trained on: coverage, width, R2 and crossing at each factor."""

import numpy as np
import torch

from common import parallel
from common.rcps.bounds import RiskTest
from common.rcps.choice import NoLambda, choose_exact
from common.rcps.sets import critical_values, make_intervals

DELTA = 0.1  # of the calibration on one half of the images


class Validation:
    """Measures an encoder on a Folder with style vectors.

    dims: coordinates that count.  mean: (D,) that predictions are relative to.  alpha: of the calibration, too.
    """

    def __init__(self, folder, dims, mean, alpha, batch_size, workers, device):
        self.folder, self.dims, self.alpha = folder, np.asarray(dims), alpha
        self.mean, self.batch_size, self.workers, self.device = mean[self.dims], batch_size, workers, device

    def __call__(self, network):
        """Return {name_16x: number} over all factors; every process does its share of the images."""
        network.eval()
        found = {}
        for view, factor in enumerate(self.folder.factors):
            predictions, truth = self._encode(network, view)
            intervals = make_intervals(truth, *predictions.transpose(1, 0, 2)[[1, 0, 2]], self.mean)
            found |= {f"{name}_{factor}x": value for name, value in
                      measure(intervals, truth, self.alpha).items()}
        network.train()
        return found

    @torch.no_grad()
    def _encode(self, network, view):
        """Return (predictions (N, 3, K), truth (N, K)), the images of all processes."""
        rows, dims = parallel.shard(range(len(self.folder))), torch.from_numpy(self.dims).to(self.device)
        parts = [(network(inputs.to(self.device), dims).float().cpu().numpy(), truth[:, self.dims])
                 for inputs, truth in self.folder.batches(rows, view, self.batch_size, self.workers)]
        empty = np.zeros((0, 3, len(self.dims)), np.float32), np.zeros((0, len(self.dims)), np.float32)
        own = [np.concatenate(arrays) for arrays in zip(empty, *parts)]
        shares = parallel.gather_objects(own)
        whole = [np.empty((len(self.folder), *array.shape[1:]), np.float32) for array in own]
        for rank, share in enumerate(shares):
            for array, part in zip(whole, share):
                array[rank :: len(shares)] = part
        return whole


def measure(intervals, truth, alpha):
    """Return {coverage, width, r2, crossing; lambda, calibrated_coverage, calibrated_width} of Intervals (N, K).

    Widths are means in standard deviations of the truth (N, K), r2 is the mean over the coordinates. Every second image
    calibrates (bet, delta 0.1), the others measure; the three numbers are missing where no lambda passes.
    """
    spread = truth.std(axis=0, dtype=np.float64)
    spread[spread == 0] = np.inf
    critical, widths = critical_values(intervals), (intervals.widths() / spread).mean(axis=1)
    found = {"coverage": (critical < 1).mean(), "width": widths.mean(),
             "r2": 1 - ((intervals.residual / spread) ** 2).mean(), "crossing": intervals.crossed.mean()}
    try:
        chosen = choose_exact(critical[::2], RiskTest("bet", alpha, DELTA, critical.shape[1]))
        found |= {"lambda": chosen, "calibrated_coverage": (critical[1::2] < chosen).mean(),
                  "calibrated_width": chosen * widths[1::2].mean()}
    except NoLambda:
        pass
    return {name: float(value) for name, value in found.items() if np.isfinite(value)}
