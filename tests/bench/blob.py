"""BlobGAN's networks against the plain formulation."""

from tests.bench.registry import bench

BLOBS = 40


def layouts(batch, width):
    """Return Blobs of `batch` pictures with 40 blobs, features and styles of so many numbers, all with gradients."""
    import torch

    from common.networks.blobgan.layout import Blobs

    generator = torch.Generator().manual_seed(0)

    def normal(*shape):
        return torch.randn(batch, *shape, generator=generator)

    blobs = Blobs(normal(BLOBS).sigmoid(), normal(BLOBS).sigmoid(), normal(BLOBS + 1) * 2, normal(BLOBS, 4),
                  normal(BLOBS + 1, width), normal(BLOBS + 1, width))
    return Blobs(*(part.requires_grad_() for part in blobs))


@bench("blob.splat", peer="inverted matrices, products of alphas", at_least=2.5, memory=True)
def splat():
    """40 blobs on a grid of 256 x 256 with all halves down to 8, and the gradient of positions, sizes and ellipses."""
    import torch

    from common.networks.blobgan.splat import splat as splatted
    from tests.bench.plain_blobgan import plain_splat

    blobs = layouts(1, 64)
    weights = {side: torch.randn(1, BLOBS + 1, side, side) for side in (8, 16, 32, 64, 128, 256)}

    def run(pyramid, features):
        total = sum((pyramid[side] * weight).sum() for side, weight in weights.items()) + features.square().sum()
        return torch.autograd.grad(total, blobs[:5])

    return lambda: run(*splatted(blobs, 256, 8)[:2]), lambda: run(*plain_splat(blobs, 256, 8))


@bench("blob.generator", peer="zero insertion, inverted matrices, style maps on the stretched grid",
       at_least=2.5, memory=True)
def generator():
    """Two pictures of 64 x 128 from 40 blobs (c_model 16), and the gradients of blobs and weights."""
    import torch

    from common.networks.blobgan.configuration import BlobGANConfig
    from tests.bench.plain_blobgan import plain_generator

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = BlobGANConfig(resolution=64, dim=64, feature_dim=64, override_c_in=64, c_model=16).generator()
    blobs, noise = layouts(2, 64), network.fixed_noise()
    wanted = [*blobs, *network.parameters()]
    target = torch.randn(2, 3, 64, 128, generator=torch.Generator().manual_seed(1))

    def run(picture):
        return picture, *torch.autograd.grad((picture * target).sum(), wanted)

    return (lambda: run(network(blobs, noise)), lambda: run(plain_generator(network, blobs, noise)), same_gradients)


def same_gradients(ours, peer):
    """True when pictures agree to 1e-4 of their length and gradients to 1e-2: at the edge of a leaky ReLU the last bit
    decides over a whole element's share. In float64 they agree to 1e-9 (tests/common/networks/blobgan)."""
    limits = [1e-4, *[1e-2] * (len(ours) - 1)]
    return all((one - other).norm() <= limit * other.norm() for limit, one, other in zip(limits, ours, peer))
