"""The two optimisers of a BlobGAN: AdamW as in the original, with the rates of lazy regularisation."""


from common.training import eager
from common.training.optim import Optimiser, Schedule


def make_optimisers(networks, options, device):
    """Return {generator, discriminator}: the generator's has the layout network, too.

    With a penalty every n steps, lr and beta2 are those of n / (n + 1) of a step (Karras et al. 2020, appendix B).
    """
    n = options.D_reg_every
    ratio = n / (n + 1) if n else 1.0
    # The original has an empty group between the two networks; its files are laid out so.
    both = [{"params": list(networks["generator"].parameters())}, {"params": []},
            {"params": list(networks["layout_net"].parameters())}]
    return {"generator": optimiser(both, options, device, 1.0),
            "discriminator": optimiser([{"params": list(networks["discriminator"].parameters())}], options, device,
                                       ratio)}


def optimiser(groups, options, device, ratio):
    """Return the Optimiser of parameter groups, with the share `ratio` of the step."""
    rate, total = options.lr * ratio, options.max_steps
    adam = eager.AdamW(groups, lr=rate, betas=(0.0, 0.99**ratio), eps=options.eps, weight_decay=0.0,
                       fused=device.type in ("cpu", "cuda"))
    fall = (round(total * (1 - options.lr_fall)), total) if options.lr_fall else None
    return Optimiser(adam, Schedule(rate, fall=fall))
