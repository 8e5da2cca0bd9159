"""Train a small StyleGAN2 generator on scikit-learn's digits, as the decoder of a sliced-Wasserstein autoencoder.

    python -m docs.chains.parts.digit_generator FOLDER

An encoder maps the 1,500 training scans (8 x 8, enlarged to 16 x 16) to codes on a sphere, the generator maps these
back to pictures; a sliced Wasserstein distance keeps the codes distributed like z / rms(z), z ~ N(0, 1), which is what
the generator's first layer makes of z. So a digit comes of every z, without a discriminator, after 400 steps.

FOLDER/generator.pt: {"g_ema", "latent_avg"}, as rosinality's stylegan2-pytorch publishes generators.
FOLDER/dims.txt: the 33 style coordinates that change pictures most.
FOLDER/scans/: the 297 held-out scans, real pictures without latents.
FOLDER/digits.png: held-out scans, what the autoencoder makes of them, and digits drawn from z.
"""

import math
import sys
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from sklearn.datasets import load_digits
from torch import nn

from common.memory import reuse_freed_memory
from common.networks.stylegan2 import StyleGAN2, StyleGAN2Config
from common.training import eager

SIDE, LATENT, CHANNELS, DIMS = 16, 10, 32, 33
STEPS, BATCH, CODES = 400, 64, 128
# Of Adam. The mapping's weights count a hundredth (StyleGAN's learning rate multiplier), so that it takes more.
RATES = {"style": 0.03, "generator": 0.01, "encoder": 0.003}


def load_scans():
    """Return the scans as uint8 (1797, 16, 16), enlarged by bicubic interpolation."""
    scans = load_digits().images / 16 * 255
    return np.stack([np.asarray(Image.fromarray(scan.round().astype(np.uint8)).resize((SIDE, SIDE), Image.BICUBIC))
                     for scan in scans])


def as_images(scans):
    """Return uint8 scans as float32 images (N, 3, 16, 16) in [-1, 1], three equal channels."""
    return torch.from_numpy(scans).float().div(127.5).sub(1)[:, None].repeat(1, 3, 1, 1)


def make_encoder():
    """Return the autoencoder's other half: images -> codes of root mean square 1."""
    class Sphere(nn.Module):
        def forward(self, x):
            return x * torch.rsqrt(x.square().mean(dim=1, keepdim=True) + 1e-8)

    return nn.Sequential(nn.Conv2d(3, 32, 3, 2, 1), nn.LeakyReLU(0.2), nn.Conv2d(32, 64, 3, 2, 1), nn.LeakyReLU(0.2),
                         nn.Flatten(), nn.Linear(64 * 16, 128), nn.LeakyReLU(0.2), nn.Linear(128, LATENT), Sphere())


def sliced_distance(codes, generator):
    """Return the sliced Wasserstein distance between codes (n, d) and as many of the prior: sorted projections."""
    prior = torch.randn(codes.shape, generator=generator)
    prior = prior * torch.rsqrt(prior.square().mean(dim=1, keepdim=True))
    directions = F.normalize(torch.randn(codes.shape[1], 256, generator=generator), dim=0)
    return ((codes @ directions).sort(dim=0)[0] - (prior @ directions).sort(dim=0)[0]).square().mean()


def render(network, z):
    """Return the images (n, 3, 16, 16) of codes z (n, 10)."""
    return network.synthesise(network.style_vectors(network.wplus(network.mapping(z))))


def train(images):
    """Return (generator, encoder), trained."""
    torch.manual_seed(0)
    draws = torch.Generator().manual_seed(1)
    network, encoder = StyleGAN2(StyleGAN2Config((CHANNELS,) * 3, LATENT, 3)), make_encoder()
    rest = [parameter for name, parameter in network.named_parameters() if not name.startswith("style.")]
    groups = {"style": network.style.parameters(), "generator": rest, "encoder": encoder.parameters()}
    adam = eager.Adam([{"params": list(groups[name]), "lr": rate} for name, rate in RATES.items()],
                      betas=(0.5, 0.99), fused=True)
    cosine = torch.optim.lr_scheduler.LambdaLR(
        adam, lambda step: 0.05 + 0.95 * 0.5 * (1 + math.cos(math.pi * step / STEPS)))
    for step in range(STEPS):
        chosen = images[torch.randint(len(images), (CODES,), generator=draws)]
        codes = encoder(chosen)
        target = chosen[:BATCH]
        made = render(network, codes[:BATCH])
        loss = F.mse_loss(made, target) + 0.5 * F.mse_loss(F.avg_pool2d(made, 2), F.avg_pool2d(target, 2))
        loss = loss + 4 * sliced_distance(codes, draws)
        adam.zero_grad()
        loss.backward()
        adam.step()
        cosine.step()
        if step % 100 == 99:
            print(f"step {step + 1} of {STEPS}: loss {loss.item():.3f}", file=sys.stderr, flush=True)
    return network.eval().requires_grad_(False), encoder.eval().requires_grad_(False)


def strongest_dims(network):
    """Return the coordinates whose change by one standard deviation changes 16 pictures most, in ascending order."""
    z = torch.randn(272, LATENT, generator=torch.Generator().manual_seed(2))
    styles = network.style_vectors(network.wplus(network.mapping(z)))
    deviations, shown, changes = styles.std(dim=0), styles[:16], []
    before = network.synthesise(shown)
    for dim in range(styles.shape[1]):
        moved = shown.clone()
        moved[:, dim] += deviations[dim]
        changes.append(float((network.synthesise(moved) - before).abs().mean()))
    return sorted(np.argsort(changes)[-DIMS:].tolist())


def draw(path, rows):
    """Write rows of images (n, 3, 16, 16) as one picture, each pixel four wide."""
    grey = torch.cat([torch.cat(list(row[:, 0]), dim=1) for row in rows]).clamp(-1, 1)
    pixels = ((grey + 1) * 127.5).round().to(torch.uint8).numpy()
    Image.fromarray(pixels).resize((pixels.shape[1] * 4, pixels.shape[0] * 4), Image.NEAREST).save(path)


def main(folder):
    """Train, and write what the page's first lines say."""
    reuse_freed_memory()  # as a job does
    scans, folder = load_scans(), Path(folder)
    network, encoder = train(as_images(scans[:1500]))
    (folder / "scans").mkdir(parents=True, exist_ok=True)
    for number, scan in enumerate(scans[1500:]):
        Image.fromarray(scan).convert("RGB").save(folder / "scans" / f"scan_{number:03d}.png")
    z = torch.randn(4096, LATENT, generator=torch.Generator().manual_seed(3))
    held_out = as_images(scans[1500:1520])
    draw(folder / "digits.png", [held_out, render(network, encoder(held_out)), *render(network, z[:60]).split(20)])
    (folder / "dims.txt").write_text("\n".join(map(str, strongest_dims(network))) + "\n")
    torch.save({"g_ema": network.state_dict(), "latent_avg": network.mapping(z).mean(dim=0)}, folder / "generator.tmp")
    (folder / "generator.tmp").rename(folder / "generator.pt")  # last: where it is there, everything is


if __name__ == "__main__":
    main(sys.argv[1])
