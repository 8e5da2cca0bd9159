"""Adaptive Runge-Kutta 5(4) of Dormand and Prince with scipy's step control, for many systems at once on one device.

Each row of the state is a system of its own with its own step size, so an image's solution does not depend on its
batch. A batch solved as one system (one step size, one error norm) is the same call on a state of one row.
"""

import math

import torch

from common.errors import InputError

# Dormand and Prince 1980, table 2: nodes, stage weights, fifth-order weights, and their difference to the fourth.
NODES = (0.0, 1 / 5, 3 / 10, 4 / 5, 8 / 9, 1.0)
STAGES = (
    (),
    (1 / 5,),
    (3 / 40, 9 / 40),
    (44 / 45, -56 / 15, 32 / 9),
    (19372 / 6561, -25360 / 2187, 64448 / 6561, -212 / 729),
    (9017 / 3168, -355 / 33, 46732 / 5247, 49 / 176, -5103 / 18656),
)
WEIGHTS = (35 / 384, 0.0, 500 / 1113, 125 / 192, -2187 / 6784, 11 / 84)
ERROR = (-71 / 57600, 0.0, 71 / 16695, -71 / 1920, 17253 / 339200, -22 / 525, 1 / 40)
SAFETY, SMALLEST, LARGEST, EXPONENT = 0.9, 0.2, 10.0, -1 / 5  # of the step control (Hairer, Norsett, Wanner, II.4)


class StepTooSmall(InputError):
    """The solver cannot continue: the step fell below what float64 resolves, or a value is no longer finite."""


def solve_rk45(function, start, end, y, rtol, atol):
    """Integrate dy/dt = function(t, y, rows) from `start` to `end`.

    y: (S, n) float64, one system a row.  function: t (R,) float64, y (R, n), rows (R,) int64 (which systems these
    are) -> (R, n) float64.  Returns (y at the end (S, n), number of evaluations (S,) int64).
    Coefficients, error norm and step control are those of scipy's solve_ivp(method="RK45"), so that the numbers of
    evaluations compare. Finished systems leave the batch. Raises StepTooSmall.
    """
    result = y.clone()
    evaluations = torch.full((len(y),), 2, dtype=torch.int64, device=y.device)  # at the start and for the first step
    direction = math.copysign(1.0, end - start)
    rows = torch.arange(len(y), device=y.device)
    t = torch.full((len(y),), float(start), dtype=torch.float64, device=y.device)
    f = function(t, y, rows)
    step = _first_step(function, t, y, f, rows, direction, abs(end - start), rtol, atol)
    rejected = torch.zeros_like(rows, dtype=torch.bool)
    while len(rows):
        _check_progress(t, step, f)
        last = direction * (t + direction * step - end) >= 0
        t_new = torch.where(last, torch.full_like(t, end), t + direction * step)
        h = t_new - t
        y_new, f_new, error = _stages(function, t, h, y, f, rows)
        evaluations[rows] += 6  # the first of seven stages is the last of the step before (FSAL)
        scale = atol + rtol * torch.maximum(y.abs(), y_new.abs())
        norm = _rms(error / scale)
        good = norm < 1  # False for NaN
        growth = torch.where(norm == 0, torch.full_like(norm, LARGEST), SAFETY * norm**EXPONENT).nan_to_num(SMALLEST)
        grown = torch.where(rejected, growth.clamp(max=1.0), growth.clamp(max=LARGEST))  # no growth after a rejection
        step = h.abs() * torch.where(good, grown, growth.clamp(min=SMALLEST))
        rejected = ~good
        t = torch.where(good, t_new, t)
        y, f = torch.where(good[:, None], y_new, y), torch.where(good[:, None], f_new, f)
        done = good & last
        if bool(done.any()):
            result[rows[done]] = y[done]
            rows, t, y, f, step, rejected = (value[~done] for value in (rows, t, y, f, step, rejected))
    return result, evaluations


def _stages(function, t, h, y, f, rows):
    """Return (y_new, f_new, error estimate) of one step of sizes h (R,)."""
    slopes, width = [f], h[:, None]
    for node, weights in zip(NODES[1:], STAGES[1:]):
        increment = sum(weight * slope for weight, slope in zip(weights, slopes))
        slopes.append(function(t + node * h, y + width * increment, rows))
    y_new = y + width * sum(weight * slope for weight, slope in zip(WEIGHTS, slopes) if weight)
    slopes.append(function(t + h, y_new, rows))
    error = width * sum(weight * slope for weight, slope in zip(ERROR, slopes) if weight)
    return y_new, slopes[-1], error


def _first_step(function, t, y, f, rows, direction, length, rtol, atol):
    """Return first step sizes (R,) (Hairer, Norsett, Wanner 1993, II.4), at the price of one evaluation."""
    scale = atol + rtol * y.abs()
    d0, d1 = _rms(y / scale), _rms(f / scale)
    guess = torch.where((d0 < 1e-5) | (d1 < 1e-5), torch.full_like(d0, 1e-6), 0.01 * d0 / d1).clamp(max=length)
    moved = function(t + direction * guess, y + direction * guess[:, None] * f, rows)
    d2 = _rms((moved - f) / scale) / guess
    steepest = torch.maximum(d1, d2)
    second = torch.where(steepest <= 1e-15, (guess * 1e-3).clamp(min=1e-6), (0.01 / steepest) ** (1 / 5))
    return torch.minimum(100 * guess, second).clamp(max=length)


def _rms(values):
    return values.square().mean(dim=1).sqrt()


def _check_progress(t, step, f):
    spacing = torch.nextafter(t.abs(), torch.full_like(t, math.inf)) - t.abs()
    if bool((step < 10 * spacing).any()) or not bool(f.isfinite().all()):  # 10 spacings: scipy's smallest step
        raise StepTooSmall("the ODE of this network has no finite solution at this tolerance",
                           do="Pass a larger `rtol`, or try another checkpoint or `weights`")
