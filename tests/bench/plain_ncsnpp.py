"""The plain formulations that qc_ncsn is measured against: zero-insertion FIR, two-pass differentiation, two
forwards."""

import copy

import torch
import torch.nn.functional as F

from common.diffusion.scores import drift, row_dot
from common.networks.ncsnpp import Downsample, ResnetBlockBigGANpp
from common.nn.shapes import per_image


def upfirdn2d(x, kernel, up=1, down=1, pad=(0, 0)):
    """Insert zeros, pad, filter at full resolution, then slice (Karras et al.'s reference formulation)."""
    batch, channels, height, width = x.shape
    x = x.reshape(batch * channels, 1, height, 1, width, 1)
    x = F.pad(x, [0, up - 1, 0, 0, 0, up - 1]).reshape(batch * channels, 1, height * up, width * up)
    x = F.conv2d(F.pad(x, [pad[0], pad[1], pad[0], pad[1]]), torch.flip(kernel, [0, 1])[None, None].to(x))
    x = x[:, :, ::down, ::down]
    return x.reshape(batch, channels, *x.shape[-2:])


def plain_up(x, kernel):
    """Upsample by two through zero insertion."""
    return upfirdn2d(x, 4 * kernel, up=2, pad=(2, 1))


def plain_down(x, kernel):
    """Downsample by two by filtering everywhere, then slicing."""
    return upfirdn2d(x, kernel, down=2, pad=(1, 1))


class PlainDownsample(Downsample):
    """The pyramid step with the plain filter."""

    def forward(self, x, kernel):
        """x: (B, C, H, W) -> (B, C', H/2, W/2)."""
        return self.Conv2d_0(upfirdn2d(x, kernel, pad=(2, 2)))


def with_plain_fir(network):
    """Return a copy of an NCSNpp whose resampling is the plain formulation."""
    network = copy.deepcopy(network)
    for module in network.modules():
        if isinstance(module, ResnetBlockBigGANpp) and module.resample is not None:
            module.resample = plain_up if module.resample.__name__ == "upsample2" else plain_down
        if isinstance(module, Downsample):
            module.__class__ = PlainDownsample
    return network


def two_pass_step(score, sde, x0, t, z, v, balancing_factor):
    """Run one QC loss and its gradients as the original does; returns (dsm, reg) means.

    The gradient is stopped at J^T v where it stands as the second product's vector, and continued by hand.
    """
    slices = v.shape[0] // x0.shape[0]
    sigma = sde.sigma(t)
    shape = (slices, 1, 1, 1)
    x = (x0 + per_image(sigma, x0) * z).repeat(shape).requires_grad_(True)
    sigma, z = sigma.repeat(slices), z.repeat(shape)
    s = score(x, sigma)
    dsm = 0.5 * (per_image(sigma, s) * s + z).flatten(1).square().sum(1)
    jtv = torch.autograd.grad(row_dot(s, v).sum(), x, create_graph=True)[0]
    stopped = jtv.detach().requires_grad_(True)
    jtjtv = torch.autograd.grad(row_dot(s, stopped).sum(), x, create_graph=True)[0]
    reg = sigma**2 * (jtv.flatten(1).square().sum(1) - row_dot(v, jtjtv))
    (dsm + balancing_factor * reg).mean().backward(retain_graph=True)
    jtv.backward(stopped.grad)
    return torch.stack([dsm.mean().detach(), reg.mean().detach()])


def separate_drift_and_divergence(score, sde, x, t, epsilon):
    """Return the NLL right-hand side from two forwards: the drift alone, then its divergence."""
    with torch.no_grad():
        velocity = drift(score, sde, x, t)
    with torch.enable_grad():
        point = x.detach().requires_grad_(True)
        projected = row_dot(drift(score, sde, point, t), epsilon).sum()
        divergence = row_dot(torch.autograd.grad(projected, point)[0], epsilon)
    return velocity, divergence
