"""One step of training: the generator's turn, then the discriminator's, each with noise of its own."""

import torch

from common.device import autocast
from common.networks.blobgan.splat import Jitter
from common.nn.convolution import twice_differentiated
from tools.train_blobgan.batches import Noise, noise_maps
from tools.train_blobgan.losses import r1_penalty, wish_for_fake, wish_for_real
from tools.train_blobgan.recompute import recompute

COUNTED = -5.0  # logit of the size from which on a blob counts for coord_spread


class GanStep:
    """Updates the networks by one batch.

    networks: {generator, layout_net, discriminator}.  averages: of the weights of the first two, in that order.
    update: Loop.update.  undo: Loop.undo.  last_r1: the penalty where it was due last, for the log.
    """

    def __init__(self, networks, averages, options, device):
        self.generator, self.layout_net, self.discriminator = (
            networks[name] for name in ("generator", "layout_net", "discriminator"))
        self.averages, self.options, self.device = averages, options, device
        self.jitter = Jitter(options.feature_jitter_xy, options.feature_jitter_angle, options.feature_jitter_shift)
        self.map_shapes = self.generator.noise_shapes()
        if options.recompute:
            recompute(self.generator)
        self.make = torch.compile(self.generator) if options.compile else self.generator
        self.dtype = self.generator.conv1.conv.weight.dtype
        self.last_r1 = 0.0

    def __call__(self, loop, step, parts):
        """Do step 1, 2, ... and return the numbers for the log."""
        options = self.options
        due = options.D_reg_every and step % options.D_reg_every == 0
        self.discriminator.requires_grad_(False)  # its gradient in the generator's turn would be thrown away
        made = loop.update("generator", parts, self.generator_turn, undo=True)
        self.discriminator.requires_grad_(True)
        judged = loop.update("discriminator", parts, self.judge_real_with_r1 if due else self.judge_real,
                             self.judge_fake)
        # The averages follow the weights as they were before this step (as in the original), once it is sure to count.
        weights = loop.undo["generator"].parameters
        for average in self.averages:
            count = len(average.parameters)
            average.update(weights[:count])
            weights = weights[count:]
        return self.numbers(made, judged, due)

    def generator_turn(self, part):
        """Return (objective, values) of the generator's wish that its pictures be taken for real, summed over rows."""
        pictures, blobs = self.pictures(Noise(*part.draws[1:4]))
        with autocast(self.device, self.options.precision):
            logits = self.discriminator(pictures, self.options.stddev_rows).to(self.dtype)
        loss = wish_for_real(logits)
        return self.options.lambda_G * loss.sum(), [loss.sum(), *self.layout_values(blobs)]

    def judge_real(self, part):
        """Return (objective, values) of real images without R1."""
        with autocast(self.device, self.options.precision):
            logits = self.discriminator(self.real(part), self.options.stddev_rows).to(self.dtype)
        return self.of_real(logits)

    def judge_real_with_r1(self, part):
        """Return (objective, values) of real images with R1, in float32 whatever the precision."""
        images = self.real(part).requires_grad_()
        with twice_differentiated():
            logits = self.discriminator(images, self.options.stddev_rows)
        objective, values = self.of_real(logits)
        penalty = r1_penalty(logits, images).sum()
        return objective + self.options.lambda_D_R1 * self.options.D_reg_every * penalty, [*values, penalty]

    def of_real(self, logits):
        """Return (objective, [loss, logits, right answers]) of the logits of real images."""
        loss = wish_for_real(logits).sum()
        return self.options.lambda_D_real * loss, [loss, logits.sum(), (logits > 0).sum().to(loss)]

    def judge_fake(self, part):
        """Return (objective, values) of generated pictures, which are made without a graph."""
        with torch.no_grad():
            pictures, _ = self.pictures(Noise(*part.draws[4:7]))
        with autocast(self.device, self.options.precision):
            logits = self.discriminator(pictures, self.options.stddev_rows).to(self.dtype)
        loss = wish_for_fake(logits).sum()
        return self.options.lambda_D_fake * loss, [loss, logits.sum(), (logits < 0).sum().to(loss)]

    def pictures(self, noise):
        """Return (pictures (n, 3, H, W), their Blobs) of a turn's Noise."""
        blobs = self.layout_net(noise.z.to(self.dtype))
        offsets = self.jitter.scaled(noise.jitter.to(self.dtype).transpose(0, 1))
        splatted = self.generator.splat(blobs, offsets)
        maps = noise_maps(noise.maps.to(self.dtype), self.map_shapes)
        with autocast(self.device, self.options.precision):
            pictures = self.make(splatted, maps)
        return pictures.to(self.dtype), blobs

    def real(self, part):
        """Return the real images (n, 3, H, W) of a part in [-1, 1]."""
        return part.draws[0].permute(0, 3, 1, 2).to(self.dtype) / 127.5 - 1

    @staticmethod
    def layout_values(blobs):
        """Return sums over the rows: spread of the blobs, mean size, mean square of the sizes."""
        sizes = blobs.sizes[:, 1:].detach()
        places, counted = torch.stack([blobs.xs, blobs.ys], dim=-1).detach(), (sizes > COUNTED).to(sizes)[..., None]
        number = counted.sum(dim=1).clamp(min=1)  # (B, 1)
        centre = (places * counted).sum(dim=1) / number  # (B, 2)
        spread = ((places - centre[:, None]).norm(dim=-1, keepdim=True) * counted).sum(dim=1) / number
        return [spread.sum(), sizes.mean(dim=1).sum(), sizes.square().mean(dim=1).sum()]

    def numbers(self, made, judged, due):
        """Return {name: number} for the log of the sums of both updates."""
        options, batch = self.options, self.options.batch_size
        loss, spread, mean, square = (made.sums / batch).tolist()
        values = (judged.sums / batch).tolist()
        real, fake = values[:3], values[-3:]
        if due:
            self.last_r1 = values[3]
        scaled = options.lambda_D_R1 * options.D_reg_every * self.last_r1
        total = options.lambda_D_real * real[0] + options.lambda_D_fake * fake[0] + (scaled if due else 0.0)
        found = {"G": loss, "D_real": real[0], "D_fake": fake[0], "D_R1": scaled,
                 "total_loss_G": options.lambda_G * loss, "total_loss_D": total, "score_fake": fake[1],
                 "score_real": real[1], "acc_fake": 100 * fake[2], "acc_real": 100 * real[2],
                 "D_R1_unscaled": self.last_r1, "coord_spread": spread, "shift_mean": mean,
                 "shift_std": max(square - mean**2, 0.0) ** 0.5, "grad_norm_G": made.norm, "grad_norm_D": judged.norm,
                 "lr": made.rate}
        return {f"train/{name}": value for name, value in found.items()}
