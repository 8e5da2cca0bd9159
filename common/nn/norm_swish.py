"""Group norm and swish with their vector-Jacobian products, written out.

x: (B, C, H, W).  G groups of C/G channels.  Vectors g have K B rows, slice-major, for B rows of x. Each product is
differentiable itself, with a derivative that is written out, too.
"""

import torch


def times(g, factor):
    """Return vectors g (K B, ...) times a tensor (B, ...) that all K slices share."""
    if g.shape[0] == factor.shape[0]:
        return g * factor
    return (_slices(g, factor) * factor).flatten(0, 1)  # (K, B, ...) -> (K B, ...)


def _slices(g, like):
    return g.unflatten(0, (-1, like.shape[0]))  # (K, B, ...)


def normalise(module, x):
    """Return (x_hat, rstd) of a GroupNorm's input x (B, C, H, W): x_hat in groups (B, G, C/G H W), rstd (B, G, 1)."""
    batch, groups = x.shape[0], module.num_groups
    if not torch.is_grad_enabled():
        return _normalised(x, groups, module.eps)
    grouped = _wide(x).reshape(batch, groups, -1)  # (B, G, C/G H W)
    variance, mean = torch.var_mean(grouped, dim=2, correction=0, keepdim=True)  # (B, G, 1) each
    rstd = torch.rsqrt(variance + module.eps)
    return (grouped - mean) * rstd, rstd


def _wide(x):
    """Return x in at least float32: moments in half precision would be useless."""
    return x if x.dtype == torch.float64 else x.float()


def _normalised(x, groups, eps):
    batch, channels = x.shape[:2]
    x_hat, _, rstd = torch.native_group_norm(_wide(x), None, None, batch, channels, x[0, 0].numel(), groups, eps)
    return x_hat.reshape(batch, groups, -1), rstd[..., None]  # (B, G, C/G H W), (B, G, 1)


def norm_back(x_hat, g):
    """Return the input cotangent of the normalisation, from g already times weight and 1/sd: (K B, C, H, W).

    With x_hat = (x - mean) rstd, the transposed Jacobian takes g to rstd (g - mean(g) - x_hat mean(g x_hat)).
    """
    stack = g.reshape(-1, *x_hat.shape)  # (K, B, G, M)
    along = (stack * x_hat).mean(-1, keepdim=True)
    return torch.addcmul(stack - stack.mean(-1, keepdim=True), x_hat, along, value=-1).reshape(g.shape)


def _project(x_hat, stack, out):
    """Write norm_back of a stack (K, B, G, M) into `out`, which may be the stack; returns mean(stack x_hat)."""
    along = (stack * x_hat).mean(-1, keepdim=True)
    torch.sub(stack, stack.mean(-1, keepdim=True), out=out).addcmul_(x_hat, along, value=-1)
    return along


def scaled_norm_back(g, scale, x_hat):
    """Return norm_back of g (K B, C, H, W) times scale (B, C, H, W)."""
    return _ScaledNormBack.apply(g, scale, x_hat)


class _ScaledNormBack(torch.autograd.Function):
    """norm_back of g times scale, with its own derivative: the projection is symmetric, so it serves both ways.

    A training step spends a fifth of its time here, all of it memory traffic: own temporaries are overwritten.
    """

    @staticmethod
    def forward(ctx, g, scale, x_hat):
        result = times(g, scale)
        along = _project(x_hat, stack := result.view(-1, *x_hat.shape), stack)
        ctx.save_for_backward(g, scale, x_hat, along)
        return result

    @staticmethod
    def backward(ctx, w):
        g, scale, x_hat, u_along = ctx.saved_tensors
        if torch.is_grad_enabled():  # create_graph: let autograd differentiate this derivative
            return _differentiable_grad(lambda g, scale, x_hat: norm_back(x_hat, times(g, scale)), ctx,
                                        (g, scale, x_hat), w)
        projected = torch.empty_like(g, dtype=w.dtype, memory_format=torch.contiguous_format)
        w_along = _project(x_hat, w.reshape(-1, *x_hat.shape), projected.view(-1, *x_hat.shape))
        d_x_hat = _weighted_sum(u_along, w) + scale.reshape(x_hat.shape) * _weighted_sum(w_along, g)
        d_scale = _slices(projected * g, scale).sum(0)
        return _slices(projected, scale).mul_(scale).view(g.shape), d_scale, -d_x_hat


def _weighted_sum(weights, stack):
    """Return the sum over slices of a stack (K B, C, H, W) times weights (K, B, G, 1): (B, G, C/G H W)."""
    slices, batch, groups, _ = weights.shape
    stack = stack.reshape(slices, batch * groups, -1).to(weights.dtype)
    return torch.bmm(weights.view(slices, -1, 1).permute(1, 2, 0), stack.transpose(0, 1)).view(batch, groups, -1)


def _differentiable_grad(function, ctx, inputs, cotangents):
    """Return the needed gradients of function(*inputs), themselves differentiable."""
    needed = ctx.needs_input_grad[: len(inputs)]
    inputs = [value.view_as(value) for value in inputs]  # aliases: no gradient through one input's graph to another
    wanted = [value for value, need in zip(inputs, needed) if need]
    gradients = iter(torch.autograd.grad(function(*inputs), wanted, cotangents, create_graph=True))
    return tuple(next(gradients) if need else None for need in needed)


class _NormSwish(torch.autograd.Function):
    """(x, weight, bias) -> (swish(h), x_hat, scale), h = weight x_hat + bias, scale = swish'(h) weight rstd.

    x_hat and scale are what the pullback needs; the derivative of all three is written out.
    """

    @staticmethod
    def forward(ctx, x, weight, bias, groups, eps):
        ctx.groups, ctx.eps = groups, eps
        x_hat, rstd = _normalised(x, groups, eps)
        h, gate, slope = _swish(x_hat, weight, bias, x.shape)
        scale = _by_group(slope * weight[:, None, None], rstd)
        ctx.save_for_backward(x, weight, bias, x_hat, rstd)
        return h * gate, x_hat, scale

    @staticmethod
    def backward(ctx, wy, w_x_hat, w_scale):
        x, weight, bias, x_hat, rstd = ctx.saved_tensors
        if torch.is_grad_enabled():  # create_graph: let autograd differentiate this derivative
            return *_differentiable_grad(lambda *values: _norm_swish_plain(*values, ctx.groups, ctx.eps), ctx,
                                         (x, weight, bias), (wy, w_x_hat, w_scale)), None, None
        h, gate, slope = _swish(x_hat, weight, bias, x.shape)
        spread = weight[:, None, None]
        by_rstd = _by_group(w_scale, rstd)  # cotangent of slope * weight
        bend = gate * (1 - gate) * (2 + h * (1 - 2 * gate))  # the second derivative of swish
        wh = torch.addcmul(wy * slope, by_rstd * spread, bend)
        channels = x_hat.reshape(x.shape)
        d_weight = torch.addcmul(by_rstd * slope, wh, channels).sum((0, 2, 3))
        through = w_x_hat + (wh * spread).reshape(x_hat.shape)
        d_rstd = (w_scale * slope * spread).reshape(x_hat.shape).sum(-1, keepdim=True)
        # d x_hat / d x is the projection times rstd; d rstd / d x_i = -rstd^2 x_hat_i / M.
        d_x = norm_back(x_hat, through.reshape(x.shape)).reshape(x_hat.shape) * rstd
        d_x = torch.addcmul(d_x, x_hat, d_rstd * rstd.square(), value=-1 / x_hat.shape[-1])
        return d_x.reshape(x.shape).to(x.dtype), d_weight, wh.sum((0, 2, 3)), None, None


def _by_group(values, factor):
    """Return values (B, C, H, W) times a factor per group (B, G, 1)."""
    return (values.reshape(*factor.shape[:2], -1) * factor).reshape(values.shape)


def _swish(x_hat, weight, bias, shape):
    """Return (h, sigmoid(h), the derivative of swish at h) of shape (B, C, H, W)."""
    h = torch.addcmul(bias[:, None, None], x_hat.reshape(shape), weight[:, None, None])
    gate = torch.sigmoid(h)
    return h, gate, torch.addcmul(gate, h * gate, 1 - gate)  # swish' = gate + h gate (1 - gate)


def _norm_swish_plain(x, weight, bias, groups, eps):
    """What _NormSwish computes, in operations that autograd can differentiate any number of times."""
    grouped = x.reshape(x.shape[0], groups, -1)
    variance, mean = torch.var_mean(grouped, dim=2, correction=0, keepdim=True)
    rstd = torch.rsqrt(variance + eps)
    x_hat = (grouped - mean) * rstd
    h, gate, slope = _swish(x_hat, weight, bias, x.shape)
    return h * gate, x_hat, _by_group(slope * weight[:, None, None], rstd)


def norm_swish(module, x, factor=1.0):
    """Return (swish(GroupNorm(x)), pullback); the cotangents come out times `factor`."""
    y, x_hat, scale = _NormSwish.apply(x, module.weight, module.bias, module.num_groups, module.eps)
    scale = scale if factor == 1 else scale * factor
    return y, lambda g: scaled_norm_back(g, scale, x_hat)
