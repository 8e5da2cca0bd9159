"""Samplers on Gaussian data with the exact score give its mean and covariance; noise belongs to the image."""

import pytest
import torch

from common.diffusion.denoiser import CountedCalls, ScoreDenoiser
from common.diffusion.edm_samplers import sample_heun
from common.diffusion.noise import UnitNoise
from common.diffusion.schedules import karras_sigmas
from common.diffusion.score_samplers import CORRECTORS, PREDICTORS, PCOptions, sample_multistep, sample_ode, sample_pc
from common.diffusion.scores import NetworkScore
from common.diffusion.sde import VESDE
from common.images.pixels import to_uint8
from tests.common.score.makers import Gaussian, small_network

COUNT = 1500
# sigma_max 10 is wide enough for data of this size, and leaves fewer steps to do.
# 36 values: with few, a Langevin step, which divides by the score's norm, is now and then far too long.
SIZE = 6
GAUSSIAN, SDE = Gaussian(size=SIZE), VESDE(sigma_max=10.0)
DENOISE = ScoreDenoiser(GAUSSIAN.score)
LEVELS = [SDE.sigma_max, SDE.sigma_min, 0.0]


def noise(count=COUNT, seed=0):
    return UnitNoise(seed, range(count), (1, SIZE, SIZE))


def check_moments(x, variance_within=0.08, covariance_within=0.36):
    """The samples' mean, covariance (in the largest direction of its error) and total variance are the data's.

    As many samples of the data itself are off by 0.015, 0.23 and 0.01.
    """
    flat = x.double().flatten(1)
    assert float((flat.mean(0) - GAUSSIAN.mean).abs().max()) < 0.04
    covariance = torch.cov(flat.T)
    error = float(torch.linalg.matrix_norm(covariance - GAUSSIAN.covariance(), 2))
    assert error < covariance_within * float(GAUSSIAN.values.max())
    assert abs(float(covariance.trace() / GAUSSIAN.values.sum()) - 1) < variance_within


@pytest.mark.parametrize("predictor", ["reverse_diffusion", "euler_maruyama", "ancestral_sampling"])
@pytest.mark.parametrize("corrector", ["langevin", "ald", "none"])
def test_predictors_and_correctors_sample_the_distribution(predictor, corrector):
    counted = CountedCalls(GAUSSIAN.score, COUNT)
    options = PCOptions(predictor=predictor, corrector=corrector)
    x = sample_pc(ScoreDenoiser(counted), noise(), SDE.reverse_sigmas(150), options, SDE)
    assert counted.calls.unique().tolist() == [150 if corrector == "none" else 300]
    # its steps are long where the score happens to be small
    check_moments(x, 0.16 if corrector == "langevin" else 0.08)


def test_every_predictor_and_corrector_is_tested():
    assert set(PREDICTORS) == {"reverse_diffusion", "euler_maruyama", "ancestral_sampling", "none"}
    assert set(CORRECTORS) == {"langevin", "ald", "none"}


def test_the_corrector_alone_ends_near_the_distribution():
    x = sample_pc(DENOISE, noise(), SDE.reverse_sigmas(800), PCOptions(predictor="none", corrector="ald"), SDE)
    check_moments(x, 0.3, 0.6)  # Langevin steps alone lag behind the noise level


@pytest.mark.parametrize("predictor", ["reverse_diffusion", "euler_maruyama"])
def test_the_probability_flow_needs_no_noise(predictor):
    calls = []
    source = noise()
    options = PCOptions(predictor=predictor, corrector="none", probability_flow=True)
    x = sample_pc(DENOISE, lambda: calls.append(1) or source(), SDE.reverse_sigmas(300), options, SDE)
    assert len(calls) == 1
    check_moments(x)


def test_batch_coupling_samples_the_distribution_too():
    x = sample_pc(DENOISE, noise(), SDE.reverse_sigmas(150), PCOptions(coupling="batch"), SDE)
    check_moments(x)


@pytest.mark.parametrize(("eta", "steps"), [(1.0, 40), (0.5, 30), (0.0, 20)])
def test_multistep_samples_the_distribution(eta, steps):
    counted = CountedCalls(GAUSSIAN.score, COUNT)
    check_moments(sample_multistep(ScoreDenoiser(counted), noise(), karras_sigmas(steps, 0.01, 10.0), eta))
    assert counted.calls.unique().tolist() == [steps]


def test_multistep_converges_to_the_ode_without_noise():
    """eta 0 is deterministic: more steps come nearer to the solver's answer from the same start."""
    exact = sample_ode(DENOISE, noise(50), LEVELS, 1e-7, 1e-9, SDE.eps)
    errors = [float((sample_multistep(DENOISE, noise(50), karras_sigmas(n, 0.01, 10.0), 0.0) - exact).abs().max())
              for n in (10, 20, 80)]
    assert errors[2] < 0.02 < errors[0]
    assert errors[0] > errors[1] > errors[2]


@pytest.mark.parametrize("coupling", ["image", "batch"])
def test_the_ode_samples_the_distribution(coupling):
    counted = CountedCalls(GAUSSIAN.score, COUNT)
    check_moments(sample_ode(ScoreDenoiser(counted), noise(), LEVELS, 1e-4, 1e-6, SDE.eps, coupling))
    assert ((counted.calls - 3) % 6 == 0).all()  # two to begin with, six a step, the noiseless one at the end
    assert len(counted.calls.unique()) == (1 if coupling == "batch" else 2)


def test_heun_samples_the_distribution_with_a_score():
    counted = CountedCalls(GAUSSIAN.score, COUNT)
    check_moments(sample_heun(ScoreDenoiser(counted), noise(), karras_sigmas(20, 0.01, 10.0)))
    assert counted.calls.unique().tolist() == [39]


def test_without_noise_removal_the_end_is_noisy():
    noisy, clean = (sample_pc(DENOISE, noise(200), SDE.reverse_sigmas(20), options, SDE)
                    for options in (PCOptions(noise_removal=False, last_step_snr=0.5), PCOptions()))
    assert float(noisy.var()) > float(clean.var()) + 0.15  # the noise's own variance is (2 0.5^2)^2 = 0.25


def test_noise_belongs_to_the_image():
    """The same draws at any batch, in any order, and as many as are asked for."""
    shape = (1, 3, 3)
    whole = UnitNoise(7, range(6), shape)
    draws = [whole() for _ in range(20)]
    for indices in ([3], [5, 0], [2, 1, 4]):
        part = UnitNoise(7, indices, shape)
        for expected in draws:
            assert torch.equal(part(), expected[indices])
    assert not torch.equal(UnitNoise(8, [0], shape)(), draws[0][:1])
    stacked = torch.stack(draws)
    assert abs(float(stacked.mean())) < 0.1
    assert abs(float(stacked.std()) - 1) < 0.1


@pytest.mark.parametrize("method", ["pc", "multistep", "heun", "ode"])
def test_an_image_is_the_same_in_any_batch(method):
    denoise = ScoreDenoiser(NetworkScore(small_network().eval().requires_grad_(False)))

    def make(indices):
        source = UnitNoise(0, indices, (1, 8, 8))
        if method == "pc":
            return sample_pc(denoise, source, SDE.reverse_sigmas(8), sde=SDE)
        if method == "ode":
            return sample_ode(denoise, source, LEVELS, 1e-3, 1e-3, SDE.eps)
        sampler = {"multistep": sample_multistep, "heun": sample_heun}[method]
        return sampler(denoise, source, karras_sigmas(8, 0.01, 10.0))

    whole = make([0, 1, 2, 3, 4])
    parts = torch.cat([make([0, 1]), make([2]), make([3, 4])])
    size = float(whole.abs().max())
    # Rounding in the network alone; the ODE's steps may differ where an error norm is close to 1.
    torch.testing.assert_close(parts, whole, rtol=1e-3, atol=(2e-2 if method == "ode" else 1e-4) * size)


def test_pixels_are_truncated_as_the_original_stores_them():
    x = torch.tensor([-0.3, 0.0, 0.00391, 0.00393, 0.5, 0.99999, 1.0, 7.0]).reshape(1, 1, 2, 4)
    assert to_uint8(x, "unit").reshape(-1).tolist() == [0, 0, 0, 1, 127, 254, 255, 255]
    assert to_uint8(torch.zeros(2, 3, 4, 5), "unit").shape == (2, 4, 5, 3)
