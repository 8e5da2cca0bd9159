"""The interval tools against plain formulations: pictures, statistics of StyleSpace."""

from tests.bench.registry import bench


def published_generator():
    """Return the 1024 px generator of FFHQ's sizes with random weights, D = 9088."""
    import torch

    from common.networks.stylegan2 import StyleGAN2, StyleGAN2Config

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = StyleGAN2(StyleGAN2Config((512, 512, 512, 512, 512, 256, 128, 64, 32)))
        for name, parameter in network.named_parameters():
            if name.endswith("noise.weight"):
                parameter.data.fill_(0.1)
    return network.eval().requires_grad_(False)


def codes(count):
    """Return codes z (count, 512)."""
    import torch

    return torch.randn(count, 512, generator=torch.Generator().manual_seed(1))


@bench("rcps.synthesis_1024", peer="the plain generator: weights per sample, grouped convolution, zero insertion",
       unit="images/s", rounds=3, at_least=1.8, memory=True)
def synthesis_1024():
    """One picture of 1024 px from its style vectors, with stored noise."""
    from tests.bench.plain_stylegan2 import plain_synthesis

    network = published_generator()
    vectors = network.style_vectors(network.wplus(network.mapping(codes(1))))
    return lambda: network.synthesise(vectors), lambda: plain_synthesis(network, vectors)


CODES, RENDERED = 1600, 1


@bench("rcps.style_statistics", peer=f"rendering each code by the plain generator, {RENDERED} of {CODES:,} timed",
       unit="codes/s", items=CODES, rounds=3, at_least=500, peer_share=RENDERED / CODES)
def style_statistics_1600():
    """Mean, extremes and deviation of D = 9088 numbers over 1,600 codes; the peer's time is extrapolated."""
    import numpy as np
    import torch

    from common.style_space import style_statistics
    from tests.bench.plain_stylegan2 import plain_synthesis

    network, z = published_generator(), codes(CODES)

    def ours():
        return style_statistics(network, z)

    def peer():
        """Render codes and keep their style vectors: of the few that are timed."""
        rows = []
        for code in z[:RENDERED].split(1):
            rows.append(network.style_vectors(network.wplus(network.mapping(code))))
            plain_synthesis(network, rows[-1])
        return torch.cat(rows)

    def same(statistics, rows):
        few = style_statistics(network, z[:RENDERED])
        inside = (rows.numpy() >= statistics.min - 1e-4).all() and (rows.numpy() <= statistics.max + 1e-4).all()
        return bool(inside) and np.allclose(few.mean, rows.mean(0), atol=1e-4)

    return ours, peer, same
