"""How much memory a training takes, from its networks and sizes alone: on torch's fake tensors, which have no values.

What a turn holds at its end is what its backward pass will read, counted by the hooks that autograd offers.
"""

from typing import NamedTuple

import torch
from torch._subclasses.fake_tensor import FakeTensorMode

from common.networks.blobgan.splat import Jitter
from tools.train_blobgan.losses import r1_penalty, wish_for_real
from tools.train_blobgan.recompute import layers, recompute

PROCESS = 0.35e9  # bytes of Python, torch and its buffers
SCRATCH = 2.0  # times the largest activation: what a convolution and its backward pass need besides



class Memory(NamedTuple):
    """Bytes. weights: parameters, averages and moments.  turns: {turn: peak of it, weights and process included}.
    parameters: {network: their number}."""

    weights: int
    turns: dict
    parameters: dict

    @property
    def peak(self):
        """Bytes at the highest."""
        return max(self.turns.values())


class _Saved:
    """Collects the sizes of all tensors that autograd stores while it is active."""

    def __init__(self, known):
        self.known, self.sizes, self.held = {id_of(tensor) for tensor in known}, {}, []

    def __enter__(self):
        self.hooks = torch.autograd.graph.saved_tensors_hooks(self._store, lambda tensor: tensor)
        self.hooks.__enter__()
        return self

    def __exit__(self, *error):
        self.hooks.__exit__(*error)

    def _store(self, tensor):
        place = id_of(tensor)
        if place not in self.known:
            self.sizes[place] = tensor.untyped_storage().nbytes()
            self.held.append(tensor)  # its place must not be given to another
        return tensor

    def total(self):
        """Return the bytes stored, and scratch beside the largest."""
        return sum(self.sizes.values()) + SCRATCH * max(self.sizes.values(), default=0)


def id_of(tensor):
    """Return what tells a tensor's memory apart."""
    return tensor.untyped_storage()._cdata


def expected_memory(config, options, rows):
    """Return the Memory of a training whose parts have `rows` rows in a process."""
    with FakeTensorMode():
        networks = {"generator": config.generator(), "layout_net": config.layout_net(),
                    "discriminator": config.discriminator()}
        return _measured(networks, config, options, rows)


def _measured(networks, config, options, rows):
    size = {name: 4 * sum(parameter.numel() for parameter in network.parameters())
            for name, network in networks.items()}
    both = size["generator"] + size["layout_net"]
    # Parameters and two moments of all; of generator and layout network averages, too.
    weights = 3 * sum(size.values()) + both
    saved = {"generator": _generator_turn(networks, options, rows),
             "discriminator": _discriminator_turn(networks, config, rows, with_r1=False)}
    if options.D_reg_every:
        saved["discriminator with R1"] = _discriminator_turn(networks, config, rows, with_r1=True)
    # A copy of the generator's weights and moments stays from the end of its turn to that of the other.
    turns = {"generator": max(saved["generator"] + both, 4 * both)}
    turns |= {turn: saved[turn] + size["discriminator"] + 3 * both for turn in saved if turn != "generator"}
    return Memory(int(weights), {turn: int(PROCESS + weights + more) for turn, more in turns.items()},
                  {name: count // 4 for name, count in size.items()})


def _generator_turn(networks, options, rows):
    generator, discriminator = networks["generator"], networks["discriminator"]
    discriminator.requires_grad_(False)
    parameters = [*generator.parameters(), *networks["layout_net"].parameters(), *discriminator.parameters()]
    z = torch.empty(rows, networks["layout_net"].noise_dim)
    maps = [torch.empty(rows, *shape[1:]) for shape in generator.noise_shapes()]
    jitter = Jitter(options.feature_jitter_xy, options.feature_jitter_angle, options.feature_jitter_shift)
    inputs = []
    for layer in layers(generator) if options.recompute else ():
        layer.register_forward_pre_hook(lambda _, values: inputs.append(values[0].untyped_storage().nbytes()))
    if options.recompute:
        recompute(generator)
    with _Saved(parameters) as saved:
        blobs = networks["layout_net"](z)
        offsets = jitter.scaled(torch.empty(4, *blobs.xs.shape))
        pictures = generator(generator.splat(blobs, offsets), maps)
        held = wish_for_real(discriminator(pictures)).sum()
    discriminator.requires_grad_(True)
    del held
    return saved.total() + sum(inputs)


def _discriminator_turn(networks, config, rows, with_r1):
    discriminator = networks["discriminator"]
    images = torch.empty(rows, 3, config.resolution, config.columns, requires_grad=with_r1)
    with _Saved(discriminator.parameters()) as saved:
        logits = discriminator(images)
        held = wish_for_real(logits).sum() + (r1_penalty(logits, images).sum() if with_r1 else 0)
    del held
    return saved.total()
