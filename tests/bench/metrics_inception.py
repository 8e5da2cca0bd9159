"""Inception features and the resizing before them, against the ways of the published tools."""

from pathlib import Path

from tests.bench.registry import bench

CASE = Path(__file__).parent.parent / "golden" / "metrics" / "inception_fid"
BATCH = 16
SIZES = ((32, 32), (256, 256), (256, 512), (720, 1280), (1024, 1024))


@bench("metrics.inception", peer="the plain module", unit="images/s", items=BATCH, threads=2, rounds=5, at_least=1.5)
def inception():
    """Features of 16 images of 299x299, weights of the golden case (their features spread about 0.9)."""
    import numpy as np
    import torch

    from common.networks.inception import InceptionFeatures
    from common.networks.inception_weights import build_inception
    from tests.golden.registry import Case

    plain = build_inception(Case(CASE).state_dict())
    fast = InceptionFeatures(plain)
    x = torch.from_numpy(np.random.default_rng(0).uniform(-1, 1, (BATCH, 3, 299, 299)).astype(np.float32))

    def peer():
        with torch.inference_mode():
            return plain(x)

    return lambda: fast.features(x), peer, lambda ours, theirs: float((ours - theirs).abs().max()) <= 1e-5


def _per_channel(image):
    """Return the image resized as clean-fid's build_resizer("clean") does it."""
    import numpy as np
    from PIL import Image

    def one(channel):
        resized = Image.fromarray(channel.astype(np.float32)).resize((299, 299), resample=Image.Resampling.BICUBIC)
        return np.asarray(resized).clip(0, 255).reshape(299, 299, 1)

    return np.concatenate([one(image[:, :, index]) for index in range(3)], axis=2).astype(np.float32)


def _resize(sizes):
    """Return (ours, peer, same) on one image of each size."""
    import numpy as np

    from common.features.resize import resize_image

    images = [np.random.default_rng(0).integers(0, 256, (*size, 3), dtype=np.uint8) for size in sizes]
    return (
        lambda: [resize_image(image, "clean") for image in images],
        lambda: [_per_channel(image) for image in images],
        lambda ours, theirs: max(np.abs(a - b).max() for a, b in zip(ours, theirs)) <= 2e-4,
    )


for _size in SIZES:
    _name = "metrics.resize_{}x{}".format(*_size)
    bench(_name, peer="Pillow, each channel", at_least=1.2)(lambda size=_size: _resize([size]))
bench("metrics.resize", peer="Pillow, each channel; an image of each size", at_least=1.2)(lambda: _resize(SIZES))
