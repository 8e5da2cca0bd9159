"""Degradation as the originals have it, byte for byte, and corruptions that do what they say."""

import io
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from common.datasets.degradations import (
    LEVELS,
    _shrink_by_taps,
    bicubic_kernel,
    blur,
    check_factor,
    corrupt,
    degrade,
    drop_blocks,
    mask,
    network_input,
    perturb,
    resized,
    shrink,
    shrink_and_enlarge,
)
from common.errors import InputError
from common.images.pixels import rounded_bytes

GOLDEN = Path(__file__).parents[2] / "golden" / "rcps" / "superres_transform" / "case.npz"


def picture(height=40, width=56, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)


def through(pixels, form):
    """Return pixels as a file of a form would give them: lossless PNG or WebP, a tensor, RGBA."""
    if form == "tensor":
        return torch.from_numpy(pixels).numpy()
    if form == "array":
        return pixels
    if form == "rgba":
        return Image.fromarray(pixels).convert("RGBA")
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, form, **({"lossless": True} if form == "webp" else {}))
    return Image.open(io.BytesIO(stream.getvalue()))


@pytest.mark.parametrize("form", ["array", "tensor", "png", "webp", "rgba"])
def test_resize_is_pils(form):
    """Whatever a picture comes through, the bytes are those of the original's transform."""
    with np.load(GOLDEN) as case:
        names = [name for name in case.files if name.startswith("source")]
        for name in names[:: 1 if form == "array" else 3]:
            factor, expected = int(name.rpartition("_f")[2]), case[name]
            image = through(case[f"image{name[6]}"], form)
            got = degrade(image, factor).transpose(2, 0, 1)
            step = 256 // expected.shape[-1]
            assert (got[:, ::step, ::step] != expected).mean() < 0.0005
        target = resized(through(case["image1"], form)).transpose(2, 0, 1)
        assert np.array_equal(target[:, ::2, ::2], case["target1"])


@pytest.mark.parametrize("factor", [1, 2, 4, 8])
def test_both_ways_of_reducing_are_one_linear_map(factor):
    x = torch.rand(3, 32, 48, generator=torch.Generator().manual_seed(0))
    got = shrink(x, factor)
    assert got.shape == (3, 32 // factor, 48 // factor)
    torch.testing.assert_close(torch.from_numpy(_shrink_by_taps(x.numpy(), factor).copy()), got, rtol=0, atol=1e-5)
    torch.testing.assert_close(shrink(torch.ones_like(x), factor), torch.ones_like(got), rtol=0, atol=1e-5)
    assert float(bicubic_kernel(factor).sum()) == pytest.approx(1, abs=1e-6)


def test_factor_1_is_a_slight_blur_and_half_a_pixel():
    ramp = torch.arange(32.0).expand(1, 32, 32)
    torch.testing.assert_close(shrink(ramp, 1)[0, 5, 4:-4], ramp[0, 5, 4:-4] + 0.5)


def test_another_size_follows_the_same_rule():
    got = degrade(picture(), 4, size=16)
    assert got.shape == (16, 16, 3)
    assert got.dtype == np.uint8
    for size, factor in ((256, 3), (16, 16), (256, 256), (16, 0), (20, 8)):
        with pytest.raises(InputError, match="cannot be reduced by this factor"):
            check_factor(factor, size)
    for size, factor in ((256, 1), (256, 64), (16, 8), (64, 32), (1024, 512)):
        check_factor(factor, size)


def test_network_input_is_normalised_and_comes_back():
    pixels = picture(16, 16)
    x = network_input(pixels)
    assert x.shape == (3, 16, 16)
    assert x.dtype == torch.float32
    assert np.array_equal(rounded_bytes(x[None])[0], pixels)
    assert torch.equal(network_input(np.stack([pixels] * 2))[1], x)


def test_rounded_bytes_round_halves_to_even_and_clip():
    x = torch.tensor([-2.0, -1.0, -1 + 0.6 / 127.5, 0.0, 1.0, 3.0]).reshape(1, 1, 1, 6)
    assert rounded_bytes(x).ravel().tolist() == [0, 0, 1, 128, 255, 255]


def image(side=64):
    return torch.rand(3, side, side, generator=torch.Generator().manual_seed(0)) * 2 - 1


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def test_operations():
    x = image()
    assert torch.equal(blur(x, 4, 2.0), blur(x, 5, 2.0))
    torch.testing.assert_close(blur(torch.ones(1, 9, 9), 5, 1.0)[0, 4, 4], torch.tensor(1.0))
    assert float(blur(torch.ones(1, 9, 9), 5, 1.0)[0, 0, 0]) < 0.6  # zeros outside
    assert shrink_and_enlarge(x, 8).shape == x.shape
    torch.testing.assert_close(shrink_and_enlarge(x[None], 8)[0], shrink_and_enlarge(x, 8))
    holed, left = mask(x[None], 0.5, torch.rand(1, 1, 6, 6, generator=generator()))
    assert set(left.unique().tolist()) == {-0.5, 0.5}
    assert torch.equal(holed, x[None] * (left > 0))
    noise = torch.randn(3, 64, 64, generator=generator())
    assert float((perturb(x * 0.5, noise) - x * 0.5).abs().max()) == pytest.approx(0.03, abs=1e-6)
    assert float((perturb(x * 0.5, noise, 0.3, "l2") - x * 0.5).norm()) == pytest.approx(0.3, abs=1e-4)
    dropped = drop_blocks(torch.ones(3, 40, 64), 32, 0.3, torch.tensor([0.1, 0.9, 0.9, 0.1]))
    assert dropped[0, ::39, ::63].tolist() == [[0, 1], [1, 0]]
    assert float(dropped[0, 31, 31]) == 0


def test_levels_grow_and_draw_from_the_images_own_generator():
    x = shrink_and_enlarge(image(128), 4)
    change = [float((corrupt(x, level, generator()) - x).square().mean()) for level in LEVELS]
    assert change[0] == 0
    assert change == sorted(change)
    for level in LEVELS:
        assert torch.equal(corrupt(x, level, generator(3)), corrupt(x, level, generator(3)))
    assert not torch.equal(corrupt(x, "severe", generator(3)), corrupt(x, "severe", generator(4)))
    with pytest.raises(InputError, match="corruption_level 64"):
        corrupt(image(64), "extreme", generator())
    with pytest.raises(ValueError, match="level is 'wild'"):
        corrupt(x, "wild", generator())
