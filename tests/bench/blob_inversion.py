"""An iteration of an inversion against the plain formulation."""

from tests.bench.registry import bench

STEPS, BATCH, BLOBS = 3, 2, 40
RATE = 0.02


def material():
    """Return (BlobGAN, decision model, LPIPS, targets, start): 64 x 128, 40 blobs, c_model 16, VGG-16, DenseNet-121,
    all with random weights."""
    import torch

    from common.networks.blobgan.configuration import BlobGANConfig
    from common.networks.blobgan.files import BlobGAN
    from common.networks.decision_networks import DRIVING, DecisionConfig, build_decision_model
    from common.networks.lpips import Lpips

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        config = BlobGANConfig(resolution=64, dim=64, feature_dim=64, override_c_in=64, c_model=16, noise_dim=64,
                               mlp_hidden_dim=256)
        gan = BlobGAN(config, config.layout_net(), config.generator()).eval().requires_grad_(False)
        decision = build_decision_model(DecisionConfig("densenet121", DRIVING, (64, 128))).eval()
        lpips = Lpips("vgg").eval().requires_grad_(False)
        for lin in lpips.lins:
            lin.data.fill_(1 / lin.shape[1])
        start = gan.layouts(torch.randn(BATCH, 64))
        targets = gan.render(gan.layouts(torch.randn(BATCH, 64)))
    return gan, decision, lpips, targets, start


@bench("blob.inversion_step",
       peer="the plain generator, targets' features each time, weights' gradients, pictures of the blobs",
       unit="steps/s", items=STEPS, rounds=3, at_least=2, memory=True)
def inversion_step():
    """Three steps for two pictures; the objectives after them are compared."""
    import torch

    from common.blobs.inversion import InversionWeights
    from common.blobs.perceptual import LpipsDistance
    from tools.blobex_inv_cf.inversion import InversionSettings, invert

    gan, decision, lpips, targets, start = material()
    settings = InversionSettings(InversionWeights(), lr=RATE, n_iters=STEPS, plateau=0, best=False)

    def ours():
        decision.requires_grad_(False)
        return invert(gan.render, targets, start, settings, LpipsDistance(lpips), decision.features).objective

    def peer():
        decision.requires_grad_(True)
        return plain_inversion(gan, decision, lpips, targets, start)

    return ours, peer, lambda one, two: torch.allclose(one, two, rtol=1e-3)


def plain_inversion(gan, decision, lpips, targets, start):
    """Return the objectives (B,) after the steps, as the original computes them."""
    import torch

    from common.networks.blobgan.splat import blob_picture
    from tests.bench.plain_blobgan import plain_generator

    noise, terms = gan.generator.fixed_noise(), None
    blobs = type(start)(*(part.detach().clone().requires_grad_() for part in start))
    rates = [{"params": [part], "lr": RATE * (2 if name == "sizes" else 1)} for name, part in blobs._asdict().items()]
    adam = torch.optim.Adam(rates)
    for step in range(STEPS + 1):
        with torch.set_grad_enabled(step < STEPS):
            pictures = plain_generator(gan.generator, blobs, noise)
            blob_picture(type(start)(*(part.detach() for part in blobs)), gan.config.resolution,
                         gan.config.aspect_ratio)
            distance = sum((lin * (one - two).square()).sum(dim=1).mean(dim=(1, 2)) for lin, one, two in zip(
                lpips.lins, lpips.unit_features(pictures, False), lpips.unit_features(targets, False)))
            seen, wanted = decision.features(pictures), decision.features(targets)
            terms = distance + 0.1 * (pictures - targets).square().mean(dim=(1, 2, 3)) \
                + 0.1 * (seen - wanted).square().mean(dim=1) \
                + 0.1 * sum((now - then).square().flatten(1).mean(dim=1) for now, then in zip(blobs, start))
        if step < STEPS:
            adam.zero_grad()
            terms.sum().backward()
            adam.step()
    decision.zero_grad()
    return terms
