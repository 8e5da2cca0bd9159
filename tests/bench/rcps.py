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


IMAGES, DIMS, RUNS = 2000, 33, 50


def synthetic_levels():
    """Return {level: (truth, point, lower, upper) float32 (2000, 33)} of three levels."""
    import numpy as np

    rng = np.random.default_rng(0)
    truth, found = rng.normal(size=(IMAGES, DIMS)).astype(np.float32), {}
    for name, scale in (("easy", 0.85), ("medium", 1.0), ("hard", 1.25)):
        point = truth - scale * rng.normal(size=truth.shape).astype(np.float32)
        arm = 1.645 * rng.lognormal(0, 0.35, truth.shape).astype(np.float32)
        found[name] = truth, point, point - arm, point + arm
    return found


@bench("rcps.calibrate", peer="all edges at all lambdas, bounds by root finding", rounds=3, at_least=25, memory=True)
def calibrate():
    """Three levels of 2,000 images, 33 coordinates, 110 lambdas, 50 splits, as published: the choices are equal."""
    from common.rcps.choice import PUBLISHED
    from common.rcps.sets import first_covering, make_intervals
    from tests.bench.plain_rcps import plain_calibration
    from tools.calibrate_rcps.calibration import Rules, make_groups, repeat_splits

    data = synthetic_levels()
    rules = Rules(levels_as="pooled", rule="first_hit", grid="published", splits="published", runs=RUNS)

    def ours():
        levels = [make_intervals(*arrays, 0) for arrays in data.values()]
        firsts = [first_covering(point, point - lower, upper - point, truth, PUBLISHED)
                  for truth, point, lower, upper in data.values()]
        (group,) = make_groups(list(data), levels, rules, firsts)
        return repeat_splits(group).places[:, 0].tolist()

    return ours, lambda: plain_calibration(data, PUBLISHED, RUNS), lambda one, other: one == other


@bench("rcps.columns", peer="numpy.load of the whole file", rounds=5, at_least=4, memory=True)
def columns():
    """33 of 9,088 columns from an outputs.npz of 2,000 images, 291 MB."""
    import tempfile
    from pathlib import Path

    import numpy as np

    from common.rcps.outputs import KEYS, Outputs, write_outputs

    folder = tempfile.TemporaryDirectory()
    path, dims = Path(folder.name) / "outputs.npz", list(range(5, 9088, 280))
    rows = np.random.default_rng(0).normal(size=(IMAGES, 9088)).astype(np.float32)
    write_outputs(path, {key: iter([rows]) for key in KEYS}, IMAGES, 9088)

    def ours(_keep=folder):
        return Outputs(path).columns(dims)

    def peer():
        with np.load(path) as archive:
            return {key: archive[key] for key in KEYS}

    return ours, peer, lambda one, other: all((one[key] == other[key][:, dims]).all() for key in KEYS)
