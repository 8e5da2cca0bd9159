"""A step of BlobGAN's training against the plain formulation."""

from tests.bench.registry import bench

STEPS, BATCH, R1, EVERY = 16, 4, 50.0, 16


def training():
    """Return (networks, config, options, draws of both turns): 32 x 64, 40 blobs, c_model 16, a discriminator an eighth
    as wide as the published one."""
    import torch

    from common.networks.blobgan.configuration import BlobGANConfig
    from tools.train_blobgan.__main__ import TrainOptions
    from tools.train_blobgan.batches import TURNS, draw_noise
    from tools.train_blobgan.networks import new_networks
    from tools.train_blobgan.presets import filled

    config = BlobGANConfig(resolution=32, dim=64, feature_dim=64, override_c_in=64, c_model=16, noise_dim=64,
                           mlp_hidden_dim=256, discriminator_multiplier=0.25)
    options = filled(TrainOptions(data="none", output_dir="none", batch_size=BATCH, feature_jitter_xy=0.0,
                                  feature_jitter_angle=0.0, feature_jitter_shift=0.0, D_reg_every=EVERY))
    networks, averaged = new_networks(config, 0, torch.device("cpu"))
    shapes = networks["generator"].noise_shapes()
    noises = [draw_noise(0, turn, 1, range(BATCH), 64, shapes, 40) for turn in TURNS]
    images = torch.randint(0, 256, (BATCH, 32, 64, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    return networks, averaged, options, (images, *noises[0], *noises[1])


@bench("blob.train_step", peer="inverted matrices, zero insertion, a graph for the discriminator's fakes",
       unit="steps/s", items=STEPS, rounds=3, at_least=1.4, memory=True)
def train_step():
    """16 steps of both turns at batch 4, R1 in one of them; the losses of the first two steps are compared."""
    return repeated(_Ours), repeated(_Plain)


def repeated(side):
    """Return a function that trains for 16 steps from the first weights and returns the losses of two of them."""
    import torch

    from common.training.ema import Average
    from tools.train_blobgan.optimisers import make_optimisers

    networks, averaged, options, draws = training()
    averages = [Average(networks[name].parameters(), options.ema_decay, averaged[f"{name}_ema"].parameters())
                for name in ("generator", "layout_net")]
    optimisers = make_optimisers(networks, options, torch.device("cpu"))
    start = {name: {key: value.clone() for key, value in network.state_dict().items()}
             for name, network in networks.items()}
    step = side(networks, averages, optimisers, options, draws)

    def run():
        for name, network in networks.items():
            network.load_state_dict(start[name])
        for optimiser in optimisers.values():
            optimiser.optimiser.state.clear()
        return torch.tensor([step(number) for number in range(1, STEPS + 1)][:2])

    return run


class _Ours:
    """The step of train_blobgan."""

    def __init__(self, networks, averages, optimisers, options, draws):
        import torch

        from common.training.log import Log
        from common.training.loop import Loop, Part
        from common.training.plan import Plan
        from tools.train_blobgan.step import GanStep

        self.step = GanStep(networks, averages, options, torch.device("cpu"))
        self.loop = Loop(Plan(1, STEPS, BATCH, 1, ()), None, None, None, Log("none"), optimisers)
        self.parts = [Part(0, BATCH, draws)]

    def __call__(self, number):
        """Do a step and return (loss of the generator, of the discriminator on real and on generated images)."""
        values = self.step(self.loop, number, self.parts)
        return values["train/G"], values["train/D_real"], values["train/D_fake"]


class _Plain:
    """The same step as it is plainly written."""

    def __init__(self, networks, averages, optimisers, options, draws):
        from tools.train_blobgan.batches import noise_maps

        self.generator, self.layout_net, self.discriminator = (
            networks[name] for name in ("generator", "layout_net", "discriminator"))
        self.averages, self.optimisers = averages, {name: each.optimiser for name, each in optimisers.items()}
        images, z_g, maps_g, _, z_d, maps_d, _ = draws
        shapes = self.generator.noise_shapes()
        self.images = images.permute(0, 3, 1, 2).float() / 127.5 - 1
        self.noises = (z_g, noise_maps(maps_g, shapes)), (z_d, noise_maps(maps_d, shapes))

    def __call__(self, number):
        """Do a step and return (loss of the generator, of the discriminator on real and on generated images)."""
        import torch
        from torch.nn.functional import softplus

        from tests.bench.plain_blobgan import plain_discriminator

        self.discriminator.requires_grad_(False)
        deceived = softplus(-plain_discriminator(self.discriminator, self._pictures(0))).mean()
        self._update("generator", deceived)
        self.discriminator.requires_grad_(True)
        images = self.images.clone().requires_grad_(number % EVERY == 0)
        logits = plain_discriminator(self.discriminator, images)
        real = softplus(-logits).mean()
        fake = softplus(plain_discriminator(self.discriminator, self._pictures(1).detach())).mean()
        loss = real + fake
        if number % EVERY == 0:
            gradient, = torch.autograd.grad(logits.sum(), images, create_graph=True)
            loss = loss + R1 * EVERY * gradient.square().sum(dim=(1, 2, 3)).mean()
        self._update("discriminator", loss)
        return deceived.item(), real.item(), fake.item()

    def _pictures(self, turn):
        from tests.bench.plain_blobgan import plain_generator

        z, maps = self.noises[turn]
        return plain_generator(self.generator, self.layout_net(z), maps)

    def _update(self, name, loss):
        optimiser = self.optimisers[name]
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        if name == "generator":
            for average in self.averages:
                average.update()
        optimiser.step()
