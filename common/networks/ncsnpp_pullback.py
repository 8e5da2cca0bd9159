"""NCSN++ together with its vector-Jacobian product, written out layer by layer.

`linearise(network, x, sigma)` runs the network once and returns the score and a function v -> J^T v. What the
quasi-conservative loss, the likelihood and the asymmetry need is that transposed Jacobian; written as ordinary
operations it needs no double backward:

- the network runs once for all vectors of an image, where autograd needs a copy of the image for each vector;
- group norm and swish enter through two tensors saved by the forward pass, instead of the general second
  derivatives of their kernels;
- one plain backward through it gives the gradients of a training loss; without gradients there is no graph at all.

Every pullback takes vectors of K B rows, slice-major, for B rows of the input, and is differentiable itself.
"""

import math

import torch
import torch.nn.functional as F

from common.networks.ncsnpp import recompute
from common.nn.fir import downsample2, upsample2
from common.nn.norm_swish import norm_swish, normalise, scaled_norm_back, times


def linearise(network, x, sigma):
    """Return (score, pullback) of an NCSNpp at x (B, C, H, W) float32 and sigma (B,) float32.

    score: (B, C, H, W).  pullback(v): (K B, C, H, W) -> J^T v of the same shape, J = d score / d x.
    """
    tape = Tape(network)
    output = network.walk(tape.start(x), network.embed(sigma), tape)
    inverse = (1 / sigma)[:, None, None, None]
    return output.tensor * inverse, lambda v: tape.run_back(times(v, inverse))


class Variable:
    """A tensor of the forward pass and its place on the tape."""

    def __init__(self, tensor, place):
        self.tensor, self.place = tensor, place


class Tape:
    """Runs layers on variables and records how to pull a cotangent of each result back to its inputs."""

    def __init__(self, network):
        self.kernel = network.kernel
        self.checkpointing = network.activation_checkpointing and torch.is_grad_enabled()
        self.steps = []  # (places of the inputs, pullback -> their cotangents), in order of the results' places

    def start(self, x):
        """Return the variable of the network's input."""
        return Variable(x, 0)

    def run_back(self, g):
        """Return the cotangent of the input for a cotangent of the last result."""
        cotangents = {len(self.steps): g}
        for place in range(len(self.steps), 0, -1):
            inputs, pullback = self.steps[place - 1]
            for source, part in zip(inputs, pullback(cotangents.pop(place))):
                cotangents[source] = cotangents[source] + part if source in cotangents else part
        return cotangents[0]

    def _push(self, tensor, inputs, pullback):
        self.steps.append(([variable.place for variable in inputs], pullback))
        return Variable(tensor, len(self.steps))

    def affine(self, x, scale, shift):
        """scale x + shift."""
        return self._push(scale * x.tensor + shift, [x], lambda g: (scale * g,))

    def mean(self, a, b):
        """(a + b) / sqrt(2)."""
        half = 1 / math.sqrt(2)
        return self._push((a.tensor + b.tensor) * half, [a, b], lambda g: (g * half,) * 2)

    def join(self, a, b):
        """Channels of a, then of b."""
        width = a.tensor.shape[1]
        return self._push(torch.cat([a.tensor, b.tensor], 1), [a, b],
                          lambda g: g.split((width, g.shape[1] - width), 1))

    def conv(self, module, x):
        """A plain convolution."""
        return self._push(module(x.tensor), [x], lambda g: (conv_back(module, g),))

    def pyramid(self, module, x):
        """The input pyramid's step: FIR filter, then a convolution with stride 2."""
        kernel = self.kernel  # a step that held the tape would keep all activations until a garbage collection

        def pullback(g):
            g = conv_back(module.Conv2d_0, g)
            taps = kernel.to(g).expand(g.shape[1], 1, *kernel.shape)  # (C, 1, 4, 4)
            return (F.conv_transpose2d(g, taps, padding=2, groups=g.shape[1]),)  # (K B, C, H, W)

        return self._push(module(x.tensor, kernel), [x], pullback)

    def norm_swish(self, module, x):
        """Group norm, then swish."""
        y, pullback = norm_swish(module, x.tensor)
        return self._push(y, [x], lambda g: (pullback(g),))

    def block(self, module, x, embedding):
        """A residual block."""
        return self._layer(residual_block, module, x, embedding, self.kernel)

    def attention(self, module, x):
        """An attention block."""
        return self._layer(attention_block, module, x)

    def _layer(self, linearised, module, x, *constants):
        if not self.checkpointing:
            y, pullback = linearised(module, x.tensor, *constants)
            return self._push(y, [x], lambda g: (pullback(g),))

        def pull_back(x, g, *constants):
            return linearised(module, x, *constants)[1](g)

        y = recompute(module, x.tensor, *constants)
        return self._push(y, [x], lambda g: (recompute(pull_back, x.tensor, g, *constants),))


def conv_back(module, g):
    """Return the input cotangent of an nn.Conv2d."""
    # oneDNN's 1x1 convolution takes twice the time of a product; the weight gradients of all rows must not outgrow g.
    if module.kernel_size == (1, 1) and g[0, 0].numel() >= module.in_channels:
        return _mix(module.weight[:, :, 0, 0].t(), g.flatten(2)).unflatten(2, g.shape[2:])
    return F.conv_transpose2d(g, module.weight, stride=module.stride, padding=module.padding)


def _mix(weight, x):
    """Return weight (I, O) times each row of x (B, O, N), without the copy that torch.matmul makes of x."""
    return torch.bmm(weight.expand(len(x), *weight.shape), x)


def residual_block(module, x, embedding, kernel):
    """Return (output, pullback) of a ResnetBlockBigGANpp."""
    half = 1 / math.sqrt(2)
    a, back_0 = norm_swish(module.GroupNorm_0, x)  # (B, C, H, W)
    if module.resample is not None:
        a, x = module.resample(a, kernel), module.resample(x, kernel)  # (B, C, H', W')
    a = module.Conv_0(a) + module.Dense_0(embedding)[:, :, None, None]  # (B, C', H', W')
    a, back_1 = norm_swish(module.GroupNorm_1, a, half)  # cheaper on its (B, ...) scale than on g's K B rows
    mask = module.Dropout_0.mask(a)
    a = module.Conv_1(a if mask is None else a * mask)  # (B, C', H', W')
    shortcut = module.Conv_2(x) if hasattr(module, "Conv_2") else x  # (B, C', H', W')

    def pullback(g):
        through = conv_back(module.Conv_1, g)
        through = back_1(through if mask is None else times(through, mask))
        through = conv_back(module.Conv_0, through)  # (K B, C, H', W')
        around = conv_back(module.Conv_2, g) if hasattr(module, "Conv_2") else g  # (K B, C, H', W')
        if module.resample is not None:
            through, around = (resample_back(module.resample, part, kernel) for part in (through, around))
        return torch.add(back_0(through), around, alpha=half)  # (K B, C, H, W)

    return (shortcut + a) * half, pullback


def resample_back(resample, g, kernel):
    """Return the input cotangent of upsample2 or downsample2: each is the other's transpose up to a factor of four."""
    return downsample2(g, 4 * kernel) if resample is upsample2 else upsample2(g, kernel / 4)


def attention_block(module, x):
    """Return (output, pullback) of an AttnBlockpp."""
    half, scale = 1 / math.sqrt(2), x.shape[1] ** -0.5
    x_hat, rstd = normalise(module.GroupNorm_0, x)  # (B, G, C/G N), (B, G, 1); N = H W
    weight, bias = (value[:, None, None] for value in (module.GroupNorm_0.weight, module.GroupNorm_0.bias))
    h = torch.addcmul(bias, x_hat.reshape(x.shape), weight).flatten(2)  # (B, C, N)
    layers = (module.NIN_0, module.NIN_1, module.NIN_2)
    q, k, v = (torch.matmul(layer.W.t(), h) + layer.b[:, None] for layer in layers)  # (B, C, N) each
    p = torch.softmax(q.transpose(1, 2) @ k * scale, dim=-1)  # (B, N, N): row n weighs the keys of query n
    v_out = torch.matmul(module.NIN_3.W.t(), v)  # (B, C, N)
    o = v_out @ p.transpose(1, 2)  # (B, C, N)
    out = (x + (o + module.NIN_3.b[:, None]).reshape(x.shape)) * half
    # Weights and factors act on q, k, v and o once per image; the K vectors of the image share the results.
    to_q, to_k = (torch.matmul(layer.W, part) * scale for layer, part in zip(layers, (k, q)))
    from_v, from_o, to_v = v_out * half, o * half, layers[2].W @ module.NIN_3.W * half
    spread = (weight * rstd.repeat_interleave(x.shape[1] // rstd.shape[1], 1)[..., None]).expand_as(x)

    def pullback(g):
        rows = g.flatten(2)  # (K B, C, N)
        q_part, k_part, v_part, p_part = (_repeat(part, len(g)) for part in (to_q, to_k, from_v, p))
        gp = rows.transpose(1, 2) @ v_part  # (K B, N, N)
        gs = times(gp - times(rows, from_o).sum(1)[..., None], p)  # softmax backwards: sum_m gp p = g . o per query
        gh = q_part @ gs.transpose(1, 2) + k_part @ gs + _mix(to_v, rows @ p_part)  # (K B, C, N)
        return torch.add(scaled_norm_back(gh.reshape(g.shape), spread, x_hat), g, alpha=half)  # (K B, C, H, W)

    return out, pullback


def _repeat(x, count):
    """Return x (B, ...) once for each slice: (count, ...)."""
    return x if len(x) == count else x.repeat(count // len(x), *[1] * (x.dim() - 1))
