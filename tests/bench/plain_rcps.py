"""The published calibration, literally: every set at every lambda, and the WSR bound by root finding."""

import numpy as np


def plain_bound(losses, delta):
    """Return the WSR upper bound of losses (n,)."""
    from scipy.optimize import brentq

    number = len(losses)
    mean = (0.5 + np.cumsum(losses)) / (1 + np.arange(1, number + 1))
    variance = (0.25 + np.cumsum((losses - mean) ** 2)) / (1 + np.arange(1, number + 1))
    variance[1:], variance[0] = variance[:-1].copy(), 0.25
    bets = np.minimum(1, np.sqrt(2 * np.log(1 / delta) / (number * variance)))

    def excess(mu):
        return np.cumsum(np.log(1 - bets * (losses - mu))).max() + np.log(delta)

    return 1.0 if excess(1) < 0 else brentq(excess, 1e-10, 1 - 1e-10)


def plain_calibration(data, lambdas, runs, alpha=0.1, delta=0.1):
    """Return the place of the lambda of each run. data: {level: (truth, point, lower, upper) float32 (N, K)}."""
    sets, losses = {}, {}
    for level, (truth, point, lower, upper) in data.items():
        below, above = np.maximum(point - lower, 0), np.maximum(upper - point, 0)
        sets[level] = [(point - value * below, point + value * above) for value in lambdas]
        losses[level] = [(~((low < truth) & (truth < high))).astype(np.float64) for low, high in sets[level]]
    number, chosen = len(next(iter(data.values()))[0]), []
    for seed in np.random.RandomState(2021).randint(0, 1000, runs):
        images = np.random.RandomState(seed).choice(number, int(0.8 * number), replace=False)
        for place in range(len(lambdas)):
            own = np.concatenate([losses[level][place][images] for level in data]).mean(axis=1)
            bound = plain_bound(own, delta)
            if own.mean() <= alpha and bound <= alpha:
                break
        else:
            place = -1
        chosen.append(place)
    return chosen
