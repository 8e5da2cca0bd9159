"""Splatting against the plain formulation, its derivatives, jitter, pictures."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from common.networks.blobgan.layout import Blobs
from common.networks.blobgan.splat import (
    PALETTES,
    Ellipses,
    Jitter,
    Offsets,
    _Shares,
    alphas,
    blob_picture,
    composite,
    covariances,
    jitter,
    shares,
    splat,
    stretched,
    terms,
)
from tests.bench.plain_blobgan import plain_covariances, plain_splat
from tests.common.networks.blobgan.makers import random_blobs

DOUBLE = {"rtol": 1e-9, "atol": 1e-9}


@pytest.mark.parametrize(("batch", "blobs", "grid", "low"), [(2, 3, 16, 4), (1, 1, 8, 8), (3, 7, 32, 8)])
def test_equals_the_plain_formulation(batch, blobs, grid, low):
    made = random_blobs(batch, blobs, dtype=torch.float64)
    got, (pyramid, features) = splat(made, grid, low), plain_splat(made, grid, low)
    assert list(got.pyramid) == list(pyramid)
    weights = torch.Generator().manual_seed(1)
    totals = [0, 0]
    for side, expected in pyramid.items():
        torch.testing.assert_close(got.pyramid[side], expected, **DOUBLE)
        weight = torch.randn(expected.shape, generator=weights, dtype=torch.float64)
        totals = [total + (part * weight).sum() for total, part in zip(totals, (got.pyramid[side], expected))]
    torch.testing.assert_close(got.features, features, **DOUBLE)
    torch.testing.assert_close(covariances(jitter(made)), plain_covariances(made.covs), **DOUBLE)
    totals = [total + part.sin().sum() for total, part in zip(totals, (got.features, features))]
    for one, other in zip(*(torch.autograd.grad(total, made[:5]) for total in totals)):
        torch.testing.assert_close(one, other, rtol=1e-7, atol=1e-8)


def test_first_and_second_derivatives():
    made = random_blobs(2, 3, dtype=torch.float64)
    rows, columns = (part.detach().requires_grad_() for part in terms(jitter(made), 4))
    sizes = made.sizes[:, 1:].detach().requires_grad_()
    assert torch.autograd.gradcheck(_Shares.apply, (rows, columns, sizes))
    assert torch.autograd.gradgradcheck(_Shares.apply, (rows, columns, sizes))

    def whole(*parts):
        got = splat(Blobs(*parts, made.spatial_style.detach()), 8, 4)
        return got.features, got.pyramid[4]

    parts = [part.detach().requires_grad_() for part in made[:5]]
    assert torch.autograd.gradcheck(whole, parts, fast_mode=True)
    assert torch.autograd.gradgradcheck(whole, parts, fast_mode=True)


def test_shares_sum_to_one_and_the_last_blob_lies_on_top():
    made = random_blobs(2, 5)
    seen = splat(made, 32, 8).pyramid
    for side in (32, 16, 8):
        torch.testing.assert_close(seen[side].sum(dim=1), torch.ones(2, side, side))
        assert bool((seen[side] >= 0).all())
    alpha = alphas(jitter(made), 32)
    torch.testing.assert_close(seen[32][:, -1], alpha[:, -1])
    torch.testing.assert_close(seen[32], composite(alpha), rtol=1e-5, atol=1e-6)


def test_thin_large_and_saturated_blobs_stay_finite_in_float32():
    made = random_blobs(1, 4)
    covs = torch.tensor([[[40.0, -40, 1, 0], [-40, 40, 0, 1], [3, -3, 1, 1], [0, 0, 1e-20, 0]]])
    sizes = torch.tensor([[0.0, 60, -200, 1e4, 3]])
    extreme = Blobs(*(part.detach().requires_grad_() for part in made._replace(covs=covs, sizes=sizes)))
    got = splat(extreme, 32, 8)
    expected = splat(Blobs(*(part.double() for part in extreme)), 32, 8)
    torch.testing.assert_close(got.pyramid[32], expected.pyramid[32].float(), rtol=1e-3, atol=1e-4)
    gradients = torch.autograd.grad(got.features.square().sum(), extreme[:5])
    assert all(bool(part.isfinite().all()) for part in gradients)


def test_a_direction_of_zeros_is_a_small_circle_as_in_the_plain_formulation():
    made = random_blobs(1, 3, dtype=torch.float64)
    made = Blobs(*(part.detach().requires_grad_() for part in made._replace(covs=torch.zeros_like(made.covs))))
    got, (pyramid, _) = splat(made, 16, 8), plain_splat(made, 16, 8)
    torch.testing.assert_close(got.pyramid[16], pyramid[16], **DOUBLE)
    assert all(bool(part.isfinite().all()) for part in torch.autograd.grad(got.features.sum(), made[:5]))


def test_backward_does_not_keep_the_alphas():
    """Beside the shares only rows and columns are stored: the alphas are computed again."""
    ellipses, stored = jitter(random_blobs(1, 6)), []
    with torch.autograd.graph.saved_tensors_hooks(lambda part: stored.append(part.numel()) or part, lambda part: part):
        shares(ellipses, 64)
    assert sum(stored) < 1.2 * 7 * 64 * 64


def test_jitter_moves_what_it_should_and_keeps_gradients():
    made, generators = random_blobs(2, 3), [torch.Generator().manual_seed(seed) for seed in (5, 6)]
    offsets = Jitter(0.04, 0.1, 0.5).draw(generators, 3)
    for part, width in zip(offsets, (0.04, 0.04, 0.1, 0.5)):
        assert part.shape == (2, 3)
        assert 0 < float(part.detach().abs().max()) <= width
    alone = Jitter(0.04, 0.1, 0.5).draw([torch.Generator().manual_seed(6)], 3)
    torch.testing.assert_close(alone.size, offsets.size[1:], rtol=0, atol=0)  # a picture's draws are its own
    moved, still = jitter(made, offsets), jitter(made)
    torch.testing.assert_close(moved.xs, still.xs + offsets.x)
    torch.testing.assert_close(moved.sizes, still.sizes + offsets.size)
    angle = still.direction[..., 0].arccos() + offsets.angle
    torch.testing.assert_close(moved.direction, torch.stack([angle.cos(), -angle.sin()], dim=-1))
    weight = torch.randn(2, 3, 2, generator=torch.Generator().manual_seed(0))
    gradients = [torch.autograd.grad((ellipses.direction * weight).sum(), made.covs)[0] for ellipses in (moved, still)]
    torch.testing.assert_close(*gradients)  # as if nothing had turned
    assert Jitter().draw(generators, 3) is None
    assert jitter(made, Offsets()).xs.equal(made.xs)


@pytest.mark.parametrize(("side", "columns"), [(8, 16), (8, 12), (16, 8), (8, 8), (8, 24), (8, 10)])
def test_columns_are_repeated_as_nearest_interpolation_does(side, columns):
    x = torch.randn(2, 3, side, side, generator=torch.Generator().manual_seed(0))
    assert stretched(x, columns).equal(F.interpolate(x, size=(side, columns), mode="nearest"))


def test_splatting_is_exact_under_autocast():
    made = random_blobs(1, 3)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        inside = splat(made, 16, 8)
    assert inside.features.dtype == torch.float32
    assert inside.features.equal(splat(made, 16, 8).features)


def test_the_picture_of_blobs_shows_each_in_its_colour():
    where = torch.tensor([[0.25, 0.75]])
    blobs = Blobs(where, where, torch.tensor([[0.0, 9.0, -20.0]]), torch.ones(1, 2, 4), torch.zeros(1, 3, 1),
                  torch.zeros(1, 3, 1))
    picture = blob_picture(blobs, 32, 2)
    assert picture.dtype == torch.uint8
    assert picture.shape == (1, 3, 32, 64)
    colours = [list(bytes.fromhex(PALETTES["kld"].split()[index])) for index in (0, 1)]
    assert picture[0, :, 8, 16].tolist() == colours[1]
    assert picture[0, :, 24, 48].tolist() == colours[0]  # too small to be seen
    assert blob_picture(blobs, 32, 2, "bed_conf")[0, :, 8, 16].tolist() == [0xe5, 0x86, 0x06]
    changed = (blob_picture(blobs, 32, 2, labels=True) != picture).any(dim=1)[0].numpy()
    rows, columns = np.nonzero(changed)  # the first blob's number at its centre, none for the small one
    assert rows.max() < 20
    assert columns.max() < 32
    assert len(rows) > 0


def test_more_blobs_than_colours():
    blobs = random_blobs(1, 80)
    assert blob_picture(blobs, 16, 1).shape == (1, 3, 16, 16)


def test_ellipses_have_a_constant_area():
    ellipses = jitter(random_blobs(1, 5, dtype=torch.float64))
    assert isinstance(ellipses, Ellipses)
    area = ellipses.axes.prod(dim=-1)
    torch.testing.assert_close(area, torch.full_like(area, 0.02**2))
