"""Checks of area rcps that run encoders: their blocks, quantile encoder, pSp encoder, the pinball loss."""

import torch

from common.formats.checkpoints import load_strictly
from common.networks.ir_se import GradualStyleBlock, IRBlock
from common.networks.psp_encoder import build_psp_encoder
from common.networks.quantile_encoder import predict
from common.networks.quantile_encoder_weights import build_quantile_encoder
from common.training.pinball import pinball, quantile_losses
from tests.golden.compare import Judged, limits, within
from tests.golden.registry import check


def part(case, name):
    """Return the case's state dict below a name."""
    return {key.removeprefix(f"{name}."): tensor for key, tensor in case.state_dict().items()
            if key.startswith(f"{name}.")}


@check("rcps/encoder_blocks")
@torch.no_grad()
def encoder_blocks(case):
    """Every block with the channels of its weights and the stride of its expected result; strictly loaded."""
    x, found = case.tensor("x"), {}
    for name in case.spec["blocks"]:
        state, expected = part(case, name), case.arrays[name]
        if "linear.weight" in state:
            outputs, inputs = state["convs.0.weight"].shape[:2]
            block = GradualStyleBlock(inputs, outputs, x.shape[-1])
        else:
            outputs, inputs = state["res_layer.1.weight"].shape[:2]
            squeeze = any(key.startswith("res_layer.5.") for key in state)
            block = IRBlock(inputs, outputs, -(-x.shape[-1] // expected.shape[-1]), squeeze)  # 7 px become 4
        load_strictly(block, state, name)
        found[name] = block.eval()(x)
    return found


@check("rcps/quantile_encoder")
@torch.no_grad()
def quantile_encoder(case):
    """The encoder found from names and shapes; its output, its backbone's, and some of its columns by themselves."""
    network = build_quantile_encoder(case.state_dict(), "case")
    config = case.spec["config"]
    assert network.config.style_dims == config["style_dims"]
    assert network.config.squeeze == (config["mode"] == "ir_se")
    x = case.tensor("x_uint8") / 127.5 - 1
    features = network.trunk(x)
    dims = list(range(config["style_dims"] - 1, -1, -7))
    columns = within(predict(network, features, dims), case.arrays["y"][:, :, dims],
                     **limits(case.spec["tolerance"], "y"))
    return Judged({"some columns": columns}, {"y": predict(network, features), "body_mean": features.mean(dim=(2, 3))})


@check("rcps/psp_encoder")
@torch.no_grad()
def psp_encoder(case):
    """The encoder found from names and shapes, with its weights below `encoder.` as in checkpoints."""
    network = build_psp_encoder({f"encoder.{name}": tensor for name, tensor in case.state_dict().items()}, "case")
    assert len(network.styles) == case.spec["config"]["n_styles"]
    return {"codes": network(case.tensor("x_uint8") / 127.5 - 1)}


@check("rcps/pinball")
def pinball_loss(case):
    """Losses of the lower and upper head at every alpha of the case, and gradients of their sum with the MSE."""
    found, target = {}, case.tensor("target")
    for name in case.arrays:
        kind, _, alpha = name.partition("_")
        if kind != "lower":
            continue
        pred = case.tensor("pred").requires_grad_()
        lower, upper = quantile_losses(pred, target, float(alpha))
        mse = ((pred[:, 1] - target) ** 2).mean()
        total = lower + upper + mse
        found |= {f"lower_{alpha}": lower, f"upper_{alpha}": upper, f"mse_{alpha}": mse,
                  f"grad_total_{alpha}": torch.autograd.grad(total, pred)[0]}
        each = pinball(target, pred[:, 0], float(alpha) / 2)
        found |= {name: value for name, value in {f"sum_{alpha}": each.sum(), f"none_{alpha}": each}.items()
                  if name in case.arrays}
    return found
