"""compute_fid beside torch-fidelity, clean-fid and prdc on the same features, in one run, as a table in Markdown.

    make peers                                     (an environment of their own below .peers, then this)
    python -m tests.peers.metrics [--images 5000]  those of the three that are installed

Every number of ours comes from the command, every other from the peer's own function.
"""

import argparse
import importlib
import sys
import tempfile
import warnings
from pathlib import Path

SEED = 2020  # torch-fidelity's


def make_features(count, width, num_logits):
    """Return (generated, reference) features (count, width) and generated logits (count, num_logits), float32."""
    import numpy as np

    mixing = np.random.default_rng(0).standard_normal((width, width)) * np.arange(1, width + 1) ** -0.5
    sides = [np.abs(np.random.default_rng(seed).standard_normal((count, width)) @ mixing / width**0.5 * scale + 0.1)
             for seed, scale in ((1, 1.1), (2, 1.0))]
    logits = 2 * np.random.default_rng(3).standard_normal((count, num_logits))
    return *(side.astype(np.float32) for side in sides), logits.astype(np.float32)


def ours(folder, size, *more):
    """Return the results of compute_fid on the features in a folder."""
    from tests.tools.commands import results_of

    words = (folder / "generated.npz", "--reference", folder / "reference.npz", "--metrics", "fid,kid,is,prdc",
             "--kid_subset_size", size, "--device", "cpu", "--nointerval")
    results = results_of("compute_fid", "clean", *words, *more)
    return {"fid": results.get("frechet_distance"), **results}  # of other than 2,048 features it is not called FID


def of_torch_fidelity(generated, reference, logits, folder, size):
    """Yield (metric, theirs, ours) of torch-fidelity: Inception score, KID, FID, precision and recall."""
    import torch
    from torch_fidelity import metric_fid, metric_isc, metric_kid, metric_prc

    results = ours(folder, size, "--kid_order", "torch_fidelity", "--seed", SEED, "--inclusive")
    first, second, scores = (torch.from_numpy(rows) for rows in (generated, reference, logits))
    found = metric_isc.isc_features_to_metric(scores)
    yield "Inception score", found["inception_score_mean"], results["inception_score"]
    yield "its deviation over splits", found["inception_score_std"], results["inception_score_std"]
    found = metric_kid.kid_features_to_metric(first, second, kid_subset_size=size, verbose=False)
    yield "KID", found["kernel_inception_distance_mean"], results["kid_subsets"]
    yield "its deviation over subsets", found["kernel_inception_distance_std"], results["kid_subsets_std"]
    statistics = map(metric_fid.fid_features_to_statistics, (first, second))
    found = metric_fid.fid_statistics_to_metric(*statistics, verbose=False)
    yield "FID", found["frechet_inception_distance"], results["fid"]
    found = metric_prc.prc_features_to_metric(first, second, verbose=False)
    yield "precision", found["precision"], results["precision"]
    yield "recall", found["recall"], results["recall"]


def of_clean_fid(generated, reference, logits, folder, size):
    """Yield (metric, theirs, ours) of clean-fid: FID and KID."""
    import numpy as np
    from cleanfid import fid

    results = ours(folder, size, "--seed", 0)
    moments = [(rows.mean(axis=0), np.cov(rows, rowvar=False)) for rows in (generated, reference)]
    yield "FID", fid.frechet_distance(*moments[0], *moments[1]), results["fid"]
    before = np.random.get_state()
    np.random.seed(0)
    try:  # clean-fid's first set is the one that it draws from second
        found = fid.kernel_distance(generated, reference, num_subsets=100, max_subset_size=size)
    finally:
        np.random.set_state(before)
    yield "KID", found, results["kid_subsets"]


def of_prdc(generated, reference, logits, folder, size):
    """Yield (metric, theirs, ours) of prdc, k = 5 as in its own example."""
    from prdc import compute_prdc

    results = ours(folder, size, "--nearest_k", 5)
    for name, value in compute_prdc(reference, generated, nearest_k=5).items():
        yield name, float(value), results[name]


PEERS = {"torch-fidelity": ("torch_fidelity", of_torch_fidelity), "clean-fid": ("cleanfid", of_clean_fid),
         "prdc": ("prdc", of_prdc)}


def compare(count, width=2048, num_logits=1008, size=1000):
    """Return ([(peer, metric, theirs, ours)], names of the peers that are not installed)."""
    import numpy as np

    from tests.common.torchvision_guard import import_torchvision

    import_torchvision()
    generated, reference, logits = make_features(count, width, num_logits)
    rows, missing = [], []
    with tempfile.TemporaryDirectory() as folder:
        np.savez(f"{folder}/generated.npz", pool_3=generated, logit=logits)
        np.savez(f"{folder}/reference.npz", feats=reference)
        for name, (module, function) in PEERS.items():
            try:
                importlib.import_module(module)
            except ImportError:
                missing.append(name)
                continue
            rows += [(name, *row) for row in function(generated, reference, logits, Path(folder), size)]
    return rows, missing


def main():
    """Print the table."""
    from importlib.metadata import version

    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=5000, help="rows of features on each side")
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    rows, missing = compare(options.images)
    print("| peer | metric | theirs | ours | relative difference |\n|---|---|---|---|---|")
    for name, metric, theirs, own in rows:
        apart = abs(own - theirs) / abs(theirs)
        print(f"| {name} {version(name)} | {metric} | {theirs:.7g} | {own:.7g} | {apart:.1e} |")
    for name in missing:
        print(f"{name} is not installed", file=sys.stderr)


if __name__ == "__main__":
    main()
