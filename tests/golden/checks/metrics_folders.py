"""From folders of image files to FID, with the project's own reading, resizing, network and distance."""

import numpy as np

from tests.golden.compare import Judged, within
from tests.golden.registry import check

FEATURES, RELATIVE = 3e-4, 2e-3


def space_of(case, mode):
    """Return the feature space with the weights that the case's manifest fills."""
    from common.features.spaces import InceptionSpace
    from common.networks.inception import InceptionFeatures
    from common.networks.inception_weights import build_inception

    network = InceptionFeatures(build_inception(case.state_dict()), "cpu")
    network.weights = {"file": "filled", "sha256": "filled"}
    return InceptionSpace(network, mode)


@check("metrics/folder_to_fid")
def folder_to_fid(case):
    """Order of the files, features, FID and KID of two folders in each mode; a generator's floats; statistics files."""
    from common.features.sources import open_images
    from common.metrics.kid import kid_subsets
    from tests.common.metrics.distances import frechet_distance_of_rows

    ratios, arrays, expected = {}, {}, case.arrays
    modes = [name.removeprefix("feats_real_") for name in expected if name.startswith("feats_real_")]
    for mode in modes:
        space, sides = space_of(case, mode), {}
        for side in ("real", "fake"):
            images = open_images(case.file(side))
            order = [str(images.title(index)).split(f"{case.folder}/")[-1] for index in range(len(images))]
            ratios[f"order_{side}"] = 0.0 if order == case.spec[f"order_{side}"] else np.inf
            sides[side] = space.encode([space.prepare(images.load(index)) for index in range(len(images))])[0]
            ratios[f"feats_{side}_{mode}"] = within(sides[side], expected[f"feats_{side}_{mode}"], atol=FEATURES)
        value = frechet_distance_of_rows(sides["fake"], sides["real"])
        ratios[f"fid_{mode}"] = within(value, case.spec[f"fid_{mode}"], rtol=RELATIVE)
        mean, _ = kid_subsets(sides["fake"], sides["real"], seed=0)
        scale = abs(kid_subsets(sides["real"] + 0.1, sides["real"], seed=0)[0])
        ratios[f"kid_{mode}"] = within(mean, case.spec[f"kid_{mode}_seed0"], rtol=RELATIVE, atol=RELATIVE * scale)
        if mode == "clean" and "gen_feats" in expected:
            ratios |= generator(case, space, sides["real"])
        if mode == "clean" and "stats16_files" in case.spec:
            ratios |= files(case, sides["real"])
    return Judged(ratios, arrays)


def generator(case, space, real):
    """Floats of a generator, unrounded, against the real folder."""
    from tests.common.metrics.distances import frechet_distance_of_rows

    count = len(case.arrays["gen_feats"])
    images = case.arrays["gen_images"][:count].transpose(0, 2, 3, 1)
    features = space.encode([space.prepare(image) for image in images])[0]
    value = frechet_distance_of_rows(features, real)
    return {"gen_feats": within(features, case.arrays["gen_feats"], atol=FEATURES),
            "fid_generator_vs_real": within(value, case.spec["fid_generator_vs_real"], rtol=RELATIVE)}


def files(case, real):
    """The files that clean-fid wrote for the first features: read, and written with the same arrays."""
    import tempfile
    from pathlib import Path

    from common.features.statistics import Statistics, read_statistics, write_features, write_statistics

    ratios = {}
    for name in case.spec["stats16_files"]:
        theirs = case.file("stats16") / name
        stored = read_statistics(theirs)
        rows = real[:, : stored.width]
        ours = Statistics(features=rows)
        ratios[f"{name} mean"] = within(stored.mean, ours.mean, atol=FEATURES)
        ratios[f"{name} covariance"] = within(stored.covariance, ours.covariance, atol=FEATURES)
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / name
            write_features(path, rows) if name.endswith("_kid.npz") else write_statistics(path, ours)
            with np.load(path) as written, np.load(theirs) as known:
                for key in known.files:
                    same = written[key].dtype == known[key].dtype
                    ratios[f"{name} {key}"] = within(written[key], known[key], atol=FEATURES) if same else np.inf
    return ratios
