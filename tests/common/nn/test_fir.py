"""upfirdn2d at any factors and pads against its definition: zeros inserted, padded, convolved, every n-th kept."""

import itertools

import pytest
import torch
import torch.nn.functional as F

from common.nn.fir import downsample2, fir_kernel, smooth, upfirdn2d, upsample2


def by_definition(x, kernel, up, down, pad):
    batch, channels, height, width = x.shape
    zeros = torch.zeros(batch, channels, height * up[1], width * up[0])
    zeros[:, :, :: up[1], :: up[0]] = x
    padded = F.pad(zeros, pad)
    y = F.conv2d(padded, kernel.flip(0, 1).expand(channels, 1, *kernel.shape), groups=channels)
    return y[:, :, :: down[1], :: down[0]]


SETTINGS = [*itertools.product([(1, 1), (2, 2), (3, 1)], [(1, 1), (2, 3)], [(2, 1, 2, 1), (0, 0, 3, -1), (5, 4, 1, 6)])]


@pytest.mark.parametrize(("up", "down", "pad"), SETTINGS)
@pytest.mark.parametrize("shape", [(4, 4), (3, 5), (1, 2)])
def test_upfirdn2d_is_its_definition(up, down, pad, shape):
    draws = torch.Generator().manual_seed(0)
    x, kernel = torch.randn(2, 3, 9, 12, generator=draws), torch.randn(shape, generator=draws)
    expected = by_definition(x, kernel, up, down, pad)
    got = upfirdn2d(x, kernel, up, down, pad)
    assert got.shape == expected.shape
    torch.testing.assert_close(got, expected, rtol=1e-5, atol=1e-5)
    rows = 9 * up[1] + pad[2] + pad[3] - shape[0]
    columns = 12 * up[0] + pad[0] + pad[1] - shape[1]
    assert got.shape[2:] == (rows // down[1] + 1, columns // down[0] + 1)


def test_the_usual_cases_are_upfirdn2d():
    x, kernel = torch.randn(2, 3, 8, 10, generator=torch.Generator().manual_seed(0)), fir_kernel()
    near = {"rtol": 1e-5, "atol": 1e-6}
    torch.testing.assert_close(upsample2(x, kernel), upfirdn2d(x, 4 * kernel, up=2, pad=(2, 1)), **near)
    torch.testing.assert_close(downsample2(x, kernel), upfirdn2d(x, kernel, down=2, pad=(1, 1)), **near)
    torch.testing.assert_close(smooth(x, kernel, 2), upfirdn2d(x, kernel, pad=(2, 2)), **near)
