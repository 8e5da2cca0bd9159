"""A small GAN on points of the plane, in float64: two optimisers, R1 on every second step, two averages.

As a program (`python -m tests.common.training.toy FOLDER BROKEN`) it trains under torchrun's variables; the last row of
step BROKEN cannot be drawn.
"""

import sys
from pathlib import Path

import torch
from torch import nn
from torch.nn.functional import softplus

from common import parallel
from common.errors import InputError
from common.seeding import unit_generator
from common.training.eager import AdamW
from common.training.ema import Average, ramp_up
from common.training.log import Log
from common.training.loop import Loop
from common.training.optim import Optimiser, Schedule
from common.training.plan import Plan
from common.training.state import TrainingState


def mlp(name, inputs, outputs):
    network = nn.Sequential(nn.Linear(inputs, 5), nn.Tanh(), nn.Linear(5, outputs)).double()
    generator = unit_generator(0, name)
    for parameter in network.parameters():
        parameter.data = torch.randn(parameter.shape, generator=generator, dtype=torch.float64)
    return network


class Gan:
    """The toy with its loop; resumes from state.pth of its folder."""

    def __init__(self, folder, last=6, save_every=2, accumulate=1, batch=6, **loop):
        self.folder, self.path, self.batch = Path(folder), Path(folder) / "state.pth", batch
        self.networks = {"generator": mlp("generator", 3, 2), "discriminator": mlp("discriminator", 2, 1)}
        self.optimisers = {
            name: Optimiser(AdamW(network.parameters(), betas=(0.0, 0.99)), Schedule(0.01, halving=4), 10.0)
            for name, network in self.networks.items()}
        self.averages = {"constant": Average(self.networks["generator"].parameters(), 0.9),
                         "ramp": Average(self.networks["generator"].parameters(), ramp_up(0.99))}
        self.state = TrainingState(self.networks, self.optimisers, self.averages)
        done = self.state.load(self.path)[0] if self.path.exists() else None
        self.loop = Loop(Plan(1, last, batch, 1, (save_every,), accumulate), self.draw, self.step,
                         lambda step: self.state.save(self.path, step), Log(folder), self.optimisers,
                         self.averages.values(), done=done, saved=done, **loop)

    def draw(self, step, first, last):
        """Return (real points, noise) of those rows."""
        rows = [unit_generator(0, step, row) for row in range(first, last)]
        values = torch.stack([torch.randn(5, generator=generator, dtype=torch.float64) for generator in rows])
        return values[:, :2] + 3, values[:, 2:]

    def step(self, step, parts):
        """Update the generator, then the discriminator, then its penalty when it is due."""
        generator, discriminator = self.networks.values()

        def deceive(part):
            total = softplus(-discriminator(generator(part.draws[1]))).sum()
            return total, (total,)

        def tell_apart(part):
            real, z = part.draws
            total = (softplus(-discriminator(real)) + softplus(discriminator(generator(z).detach()))).sum()
            return total, (total,)

        def penalty(part):
            real = part.draws[0].clone().requires_grad_()
            gradient, = torch.autograd.grad(discriminator(real).sum(), real, create_graph=True)
            total = gradient.square().sum()
            return total, (total,)

        values = {"loss": float(self.loop.update("generator", parts, deceive).sums) / self.batch,
                  "loss_d": float(self.loop.update("discriminator", parts, tell_apart).sums) / self.batch}
        if step % 2 == 0:
            values["r1"] = float(self.loop.update("discriminator", parts, penalty).sums) / self.batch
        return values


if __name__ == "__main__":
    gan = Gan(sys.argv[1])
    draw = gan.loop.draw

    def broken(step, first, last):
        if (step, last) == (int(sys.argv[2]), gan.batch):
            raise InputError("not an image", where="cat.png")
        return draw(step, first, last)

    gan.loop.draw = broken
    with parallel.process_group():
        try:
            gan.loop.run()
        except InputError as error:
            print(error)
            sys.exit(2)
