"""Convolutions with the gradient of their weights as products of matrices: torch's results and gradients."""

import pytest
import torch
import torch.nn.functional as F

from common.nn import convolution

# name: (ours, torch's, shape of x, shape of the weight)
CASES = {
    "3x3": (lambda x, w, b: convolution.conv2d(x, w, b, 1, 1), lambda x, w, b: F.conv2d(x, w, b, padding=1),
            (2, 64, 9, 7), (80, 64, 3, 3)),
    "3x3 without edges": (convolution.conv2d, F.conv2d, (1, 64, 9, 7), (64, 64, 3, 3)),
    "1x1": (convolution.conv2d, F.conv2d, (2, 64, 5, 6), (70, 64, 1, 1)),
    "down": (lambda x, w, b: convolution.conv2d(x, w, b, 2), lambda x, w, b: F.conv2d(x, w, b, stride=2),
             (2, 64, 9, 11), (80, 64, 3, 3)),
    "down, even": (lambda x, w, b: convolution.conv2d(x, w, b, 2), lambda x, w, b: F.conv2d(x, w, b, stride=2),
                   (2, 64, 10, 12), (64, 64, 3, 3)),
    "up": (lambda x, w, b: convolution.conv_transpose2d(x, w, 2) + b[:, None, None],
           lambda x, w, b: F.conv_transpose2d(x, w, b, stride=2), (2, 64, 4, 5), (64, 80, 3, 3)),
}


@pytest.fixture(autouse=True)
def older(monkeypatch):
    """A processor without AVX-512, whatever this one is."""
    monkeypatch.setattr(convolution, "_has_avx512", lambda: False)


def material(name):
    """Return (x, weight, bias) of a case, channels last and with gradients."""
    generator = torch.Generator().manual_seed(0)
    ours, theirs, shape, weights = CASES[name]
    outputs = weights[0] if name != "up" else weights[1]
    x, weight, bias = (torch.randn(size, generator=generator) for size in (shape, weights, (outputs,)))
    x = x.contiguous(memory_format=torch.channels_last)
    return ours, theirs, [x.requires_grad_(), weight.requires_grad_(), bias.requires_grad_()]


@pytest.mark.parametrize("name", CASES)
def test_results_and_both_gradients_are_torchs(name):
    ours, theirs, inputs = material(name)
    results = []
    for convolve in (ours, theirs):
        y = convolve(*inputs)
        direction = torch.randn(y.shape, generator=torch.Generator().manual_seed(1))
        once = torch.autograd.grad((y * direction).sum(), inputs, create_graph=True)
        twice = torch.autograd.grad(sum(part.square().sum() for part in once), inputs[:2])
        results.append([y, *once, *twice])
    for own, other in zip(*results):
        assert (own - other).abs().max() <= 1e-5 * other.abs().max()


def test_it_is_used_where_it_is_quicker_alone(monkeypatch):
    called = []
    products = convolution._taps
    monkeypatch.setattr(convolution, "_taps", lambda *words: called.append(words) or products(*words))

    def uses(x, weight, **how):
        called.clear()
        convolution.conv2d(x, weight, **how).sum().backward()
        return bool(called)

    _, _, (x, weight, _) = material("3x3")
    assert uses(x, weight)
    assert not uses(x.detach().contiguous().requires_grad_(), weight)
    assert not uses(x[:, :32].contiguous(memory_format=torch.channels_last), weight[:, :32])
    assert not uses(x, weight.detach())
    assert not uses(x.double(), weight.double())
    with convolution.twice_differentiated():
        assert not uses(x, weight)
    monkeypatch.setattr(convolution, "_has_avx512", lambda: True)
    assert not uses(x, weight)
