"""Asym and NAsym of scores whose Jacobian is known."""

import pytest
import torch

from common.diffusion.scores import make_score
from common.diffusion.sde import VESDE
from common.seeding import rademacher
from tests.common.score.makers import Gaussian, draws, small_network
from tools.qc_ncsn.asymmetry import asymmetry, exact_asymmetry, noise_levels, normalised

LEVELS = (0.05, 0.5, 0.9)


def measure(gaussian, level, estimator, count=300, seed=0):
    """Return per-image (asym, norm2) of `count` images with one vector each."""
    sde, generator = VESDE(), torch.Generator().manual_seed(seed)
    x0 = gaussian.sample(count)
    z = torch.randn(x0.shape, generator=generator)
    v = rademacher(tuple(x0.shape), generator)
    asym, norm2 = asymmetry(gaussian.score, sde, x0, torch.full((count,), level), z, v, estimator)
    return asym.double(), norm2.double()


def exact(gaussian, level):
    """Return (0.5 ||J - J'||^2, ||J||^2), the same for every image of a Gaussian."""
    jacobian = gaussian.jacobian(float(VESDE().sigma(torch.tensor(level, dtype=torch.float64))))
    return 0.5 * float((jacobian - jacobian.T).square().sum()), float(jacobian.square().sum())


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("estimator", ["paper", "antisymmetric"])
def test_estimates_lie_within_their_own_standard_error(estimator, level):
    gaussian = Gaussian(turn=0.05)
    asym, norm2 = measure(gaussian, level, estimator)
    for values, expected in zip((asym, norm2), exact(gaussian, level)):
        error = float(values.std()) / len(values) ** 0.5
        assert abs(float(values.mean()) - expected) < error
        assert error < 0.3 * expected


@pytest.mark.parametrize("estimator", ["paper", "antisymmetric"])
def test_standard_errors_are_as_large_as_the_errors(estimator):
    """Over 60 draws the deviation in standard errors has variance 1 and no bias."""
    gaussian, level = Gaussian(turn=0.05), 0.5
    drawn = [measure(gaussian, level, estimator, seed=seed) for seed in range(60)]
    for which, expected in enumerate(exact(gaussian, level)):
        z = torch.tensor([float((v.mean() - expected) / v.std()) * len(v) ** 0.5
                          for v in (pair[which] for pair in drawn)])
        assert 0.75 < float(z.square().mean()) ** 0.5 < 1.25  # 3 standard deviations of the root mean square of 60
        assert abs(float(z.mean())) * 60**0.5 < 3


@pytest.mark.parametrize("level", LEVELS)
def test_the_antisymmetric_estimator_varies_less(level):
    """And is never negative. Nearly symmetric Jacobians are where it pays."""
    gaussian = Gaussian(turn=0.01)
    paper, _ = measure(gaussian, level, "paper")
    ours, _ = measure(gaussian, level, "antisymmetric")
    assert float(ours.std()) < float(paper.std())
    assert float(ours.min()) >= 0
    spread = (float(paper.var()) / len(paper) + float(ours.var()) / len(ours)) ** 0.5
    assert abs(float(paper.mean() - ours.mean())) < 3 * spread


def test_the_whole_jacobian_gives_the_exact_value():
    gaussian = Gaussian(turn=0.05)
    for level in LEVELS:
        asym, norm2 = measure(gaussian, level, "exact", count=2)
        for values, expected in zip((asym, norm2), exact(gaussian, level)):
            torch.testing.assert_close(values, torch.full((2,), expected, dtype=torch.float64), rtol=1e-4, atol=0)


def test_a_gradient_field_has_none_and_a_rotation_has_all():
    asym, norm2 = measure(Gaussian(), 0.5, "exact", count=2)
    assert float(normalised(asym, norm2).max()) < 1e-10
    turning = Gaussian(turn=1e3)  # so much that the symmetric part is lost beside it
    asym, norm2 = measure(turning, 0.5, "exact", count=2)
    torch.testing.assert_close(normalised(asym, norm2), torch.ones(2, dtype=torch.float64), rtol=1e-4, atol=0)


def test_estimates_of_a_network_agree_with_its_whole_jacobian():
    network = small_network(image_size=4, attn_resolutions=(2,)).eval().requires_grad_(False)
    score, sde = make_score(network, conservative=False), VESDE()
    x, sigma, _ = draws(network, 1)
    whole, norm2 = exact_asymmetry(score, x, sigma)
    t = torch.log(sigma / sde.sigma_min) / sde.log_ratio
    v = rademacher((1500, *x.shape[1:]), torch.Generator().manual_seed(1))
    for estimator in ("paper", "antisymmetric"):
        asym, norms = asymmetry(score, sde, x, t, torch.zeros_like(x), v, estimator)
        for values, expected in ((asym, whole), (norms, norm2)):
            error = float(values.std()) / len(values) ** 0.5
            assert abs(float(values.mean()) - float(expected)) < 4 * error
            assert error < 0.1 * float(expected)


def test_a_conservative_network_has_none_but_rounding():
    network = small_network(image_size=4, attn_resolutions=(2,)).eval().requires_grad_(False)
    x, sigma, _ = draws(network, 2)
    asym, norm2 = exact_asymmetry(make_score(network, conservative=True), x, sigma)
    assert float(normalised(asym, norm2).max()) < 1e-9
    asym, norm2 = exact_asymmetry(make_score(network, conservative=False), x, sigma)
    assert float(normalised(asym, norm2).min()) > 0.01


def test_several_vectors_are_rows_of_their_own():
    gaussian, sde = Gaussian(turn=0.05), VESDE()
    x0, t = gaussian.sample(3), torch.full((3,), 0.4)
    z, v = torch.zeros_like(x0), rademacher((6, *x0.shape[1:]), torch.Generator().manual_seed(0))
    for estimator in ("paper", "antisymmetric"):
        asym, norm2 = asymmetry(gaussian.score, sde, x0, t, z, v, estimator)
        for row in range(6):
            one, norm = asymmetry(gaussian.score, sde, x0[row % 3][None], t[:1], z[:1], v[row][None], estimator)
            torch.testing.assert_close((asym[row], norm2[row]), (one[0], norm[0]), rtol=1e-4, atol=1e-5)


def test_levels_start_at_0_and_stay_below_1():
    assert noise_levels(4) == [0.0, 0.25, 0.5, 0.75]
