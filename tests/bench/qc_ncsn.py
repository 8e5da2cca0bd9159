"""qc_ncsn against plain formulations: FIR by zero insertion, two-pass differentiation, drift and divergence apart."""

from tests.bench.registry import bench

TWO_PASS = "two-pass differentiation, zero-insertion FIR, a row a vector"


def _fir(ours, peer):
    import torch

    from common.nn.fir import fir_kernel

    kernel = fir_kernel()
    x = torch.randn(8, 128, 16, 16, generator=torch.Generator().manual_seed(0))
    return lambda: ours(x, kernel), lambda: peer(x, kernel)


@bench("nn.fir_up2", peer="zero insertion and full convolution", at_least=5)
def fir_up2():
    from common.nn.fir import upsample2
    from tests.bench.plain_ncsnpp import plain_up

    return _fir(upsample2, plain_up)


@bench("nn.fir_down2", peer="full convolution, then slicing", at_least=5)
def fir_down2():
    from common.nn.fir import downsample2
    from tests.bench.plain_ncsnpp import plain_down

    return _fir(downsample2, plain_down)


def _setting(config, batch, slices):
    """Return (network with random weights, VE SDE, x0, t, z, v)."""
    import torch

    from common.diffusion.sde import VESDE
    from common.networks.ncsnpp import NCSNpp

    generator = torch.Generator().manual_seed(0)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = NCSNpp(config)
        for parameter in network.parameters():  # the initial weights make a network whose Jacobian is all but zero
            if parameter.requires_grad:
                parameter.data.add_(0.02 * torch.randn(parameter.shape, generator=generator))
    shape = (config.num_channels, config.image_size, config.image_size)
    x0, z = (torch.randn((batch, *shape), generator=generator) for _ in range(2))
    v = torch.randn((batch * slices, *shape), generator=generator).sign()
    return network, VESDE(), x0.sigmoid(), torch.rand(batch, generator=generator), z, v


def _step(config, batch, slices, factor=1e-4):
    """Return (ours, peer): one QC loss with all gradients, each giving the losses and the gradient norm."""
    import torch

    from common.diffusion.scores import NetworkScore
    from tests.bench.plain_ncsnpp import two_pass_step, with_plain_fir
    from tools.qc_ncsn.losses import training_loss

    network, sde, x0, t, z, v = _setting(config, batch, slices)
    plain = with_plain_fir(network)

    def norm(model):
        return torch.stack([p.grad.norm() for p in model.parameters() if p.grad is not None]).norm()

    def ours():
        network.zero_grad()
        dsm, reg = training_loss(NetworkScore(network), sde, x0, t, z, v, factor)
        (dsm + factor * reg).mean().backward()
        return torch.stack([dsm.mean().detach(), reg.mean().detach(), norm(network)])

    def peer():
        plain.zero_grad()
        return torch.cat([two_pass_step(NetworkScore(plain), sde, x0, t, z, v, factor), norm(plain)[None]])

    return ours, peer


@bench("qc.step_tiny", peer=TWO_PASS, rounds=5, at_least=3.5)
def step_tiny():
    from common.networks.ncsnpp import NetworkConfig

    config = NetworkConfig(image_size=16, nf=16, ch_mult=(1, 2), num_res_blocks=1, attn_resolutions=(8,), dropout=0.0)
    return _step(config, batch=8, slices=16)


@bench("qc.step_real", peer=TWO_PASS, rounds=3, at_least=1.4)
def step_real():
    from common.networks.ncsnpp import NetworkConfig

    return _step(NetworkConfig(dropout=0.0), batch=1, slices=1)


@bench("qc.nll_rhs", peer="drift and divergence in separate forwards", rounds=5, at_least=1.3)
def nll_rhs():
    import torch

    from common.diffusion.scores import NetworkScore
    from common.networks.ncsnpp import NetworkConfig
    from tests.bench.plain_ncsnpp import separate_drift_and_divergence
    from tools.qc_ncsn.likelihood import drift_and_divergence

    network, sde, x0, _, z, epsilon = _setting(NetworkConfig(dropout=0.0), 1, 1)
    score = NetworkScore(network.eval().requires_grad_(False))
    x, t = x0 + z, torch.tensor([0.4])

    def ours():
        with torch.no_grad():
            velocity, divergence = drift_and_divergence(score, sde, x, t, epsilon)
        return torch.cat([velocity.flatten(), divergence])

    def peer():
        velocity, divergence = separate_drift_and_divergence(score, sde, x, t, epsilon)
        return torch.cat([velocity.flatten(), divergence])

    return ours, peer
