"""Checks of area blobex that run the discriminator and the encoder."""

import torch
import torch.nn.functional as F

from common.formats.checkpoints import load_strictly
from common.networks.blobgan.discriminator import Discriminator, LayoutEncoder
from tests.golden.registry import check


def sizes(config):
    """Return the arguments that both networks take from a case's configuration."""
    return {"size": config["size"], "aspect_ratio": config["aspect_ratio"], "multiplier": config["channel_multiplier"]}


@check("blobex/discriminator")
def discriminator(case):
    """Logits for several batch sizes; R1 with its gradients and the losses, of the first batch."""
    network, config = Discriminator(**sizes(case.spec["config"])), case.spec["config"]
    load_strictly(network, case.state_dict(), "case")
    found = {f"logits_{size}": network(case.tensor(f"x_{size}"))[:, None] for size in config["batch_sizes"]}
    x = case.tensor(f"x_{config['batch_sizes'][0]}").requires_grad_()
    logits = network(x)
    gradient, = torch.autograd.grad(logits.sum(), x, create_graph=True)
    r1 = gradient.square().sum(dim=(1, 2, 3)).mean()
    names = [name.removeprefix("r1_grad__") for name in case.arrays if name.startswith("r1_grad__")]
    gradients = torch.autograd.grad(r1, [network.get_parameter(name) for name in names])
    return found | {f"r1_grad__{name}": value for name, value in zip(names, gradients)} | {
        "r1_unscaled": r1, "r1_image_grad": gradient, "loss_G_softplus": F.softplus(-logits).mean(),
        "loss_D_fake_softplus": F.softplus(logits).mean(), "loss_D_real_softplus": F.softplus(-logits).mean()}


@check("blobex/encoder")
@torch.no_grad()
def encoder(case):
    """Images -> latents."""
    config = case.spec["config"]
    network = LayoutEncoder(outputs=config["d_out"], **sizes(config))
    load_strictly(network, case.state_dict(), "case")
    return {"latent": network(case.tensor("x"))}
