"""Every option of compute_fid for every kind of input: it changes the results, or is refused in a line.

Made from the option tables themselves, so that a new option cannot be forgotten. Inception is a small stand-in here,
whose features depend on the same things.
"""

import dataclasses
import hashlib
import shutil

import numpy as np
import pytest
import torch

from common.features.sources import open_images
from common.networks import inception
from tests.common.metrics.pictures import write_folder
from tests.tools.commands import call_tool
from tests.tools.compute_fid.test_compute_fid import Pattern
from tests.tools.compute_fid.test_forms import write_tar
from tools.compute_fid.__main__ import CleanOptions, FastOptions

pytestmark = pytest.mark.filterwarnings("ignore:`torch.jit:DeprecationWarning")
WIDTHS = {"64": 8, "192": 12, "spatial": 20, "768": 16, "2048": 24}
STRUCTURE = {"checkpoint", "reference", "dataset_name", "metrics"}
NO_EFFECT = {"overwrite", "dry_run", "json", "quiet", "debug", "output_dir", "batch_size", "num_workers", "device",
             "cache_gb"}  # on results; they are never refused
KID = ("--metrics", "kid", "--kid_subset_size", "4", "--kid_subsets", "3")
IS = ("--metrics", "fid,is", "--splits", "2")
PRDC = ("--metrics", "prdc", "--nearest_k", "2")
# option: (the words of the command without it, the words that give it)
SAMPLES = {
    "num_gen": ((), ("5",)), "seed": (KID, ("7",)), "stats_dir": ((), ("elsewhere",)), "extractor": ((), ("small",)),
    "layer": ((), ("64",)), "weights": ((), ("other.pth",)), "resolution": ((), ("12",)),
    "fit": (("--resolution", "12"), ("squash",)), "round": ((), None),
    "nearest_k": (PRDC, ("3",)), "inclusive": (PRDC, ()), "splits": (IS, ("3",)),
    "kid_subsets": (KID, ("5",)), "kid_subset_size": (KID, ("3",)), "kid_order": (KID, ("torch_fidelity",)),
    "kid_pairs": (KID, ("all",)), "kid_kernel": (KID, ("rbf",)),
    "kid_sigma": ((*KID, "--kid_kernel", "rbf"), ("3",)),
    "interval": ((), None), "split": ((), ("test",)), "reference_split": ((), ("test",)), "data_dir": ((), ("x",)),
    "per_class": ((), ()), "config": ((), ("u_digits",)), "method": ((), ("ode",)), "num_steps": ((), ("3",)),
    "z_dim": ((), ("7",)), "truncation": ((), ("0.5",)), "output_range": ((), ("unit",)), "num_classes": ((), ("3",)),
    "class_label": ((), ("1",)), "mode": ((), ("legacy_pytorch",)), "antialias": ((), None),
}


class Stand:
    """A network with Inception's outputs of small widths: fixed projections of 4 x 4 tiles."""

    has_logits = True

    def __init__(self, path=None, device="cpu"):
        self.weights = {"file": "x.pth", "sha256": hashlib.sha256(str(path).encode()).hexdigest()}
        self.draws = torch.Generator().manual_seed(len(str(path)))
        self.matrices = {name: torch.randn(3 * 16 * 16, width, generator=self.draws) for name, width in WIDTHS.items()}

    def layers(self, x, names):
        rows = torch.nn.functional.adaptive_avg_pool2d(x, 16).flatten(1)
        return {name: rows @ self.matrices[name] for name in names}

    def logits(self, features, bias=True):
        return features[:, :6]


@pytest.fixture(scope="module")
def inputs(tmp_path_factory):
    """Every kind of input; some images of fake are real ones, so that distances tie."""
    here = tmp_path_factory.mktemp("inputs")
    write_folder(here / "real", 9)
    write_folder(here / "fake", 8, first=20)
    for name in ("000.png", "002.png", "below/001.png"):
        shutil.copy(here / "real" / name, here / "fake" / name)
    images = open_images(here / "fake")
    array = np.stack([images.load(index) for index in range(len(images))])
    np.savez(here / "fake.npz", images=array)
    np.save(here / "fake.npy", array)
    files = sorted((here / "fake").rglob("*.png"))
    write_tar(here / "fake.tar", files)
    (here / "fake.txt").write_text("".join(f"{path}\n" for path in files))
    for name, seed in (("features.npz", 1), ("others.npz", 2)):
        rows = np.random.default_rng(seed).standard_normal((9, WIDTHS["2048"])).astype(np.float32)
        np.savez(here / name, pool_3=rows, logit=rows[:, :6])
    np.savez(here / "moments.npz", mu=np.ones(WIDTHS["2048"]), sigma=np.eye(WIDTHS["2048"]))
    torch.jit.script(Pattern(False)).save(str(here / "pattern.pt"))
    write_parquet(here / "fake.parquet", files)
    return here


def write_parquet(path, files):
    """Write the images as a parquet file, where pyarrow is there."""
    try:
        import pyarrow
        import pyarrow.parquet as parquet
    except ImportError:
        return
    parquet.write_table(pyarrow.table({"image": [{"bytes": file.read_bytes(), "path": file.name} for file in files]}),
                        path)


KINDS = {
    "folder": ("fake", "--reference", "real"), "array": ("fake.npz", "--reference", "real"),
    "npy": ("fake.npy", "--reference", "real"), "tar": ("fake.tar", "--reference", "real"),
    "parquet": ("fake.parquet", "--reference", "real"), "list": ("fake.txt", "--reference", "real"),
    "features": ("features.npz", "--reference", "real"), "statistics": ("moments.npz", "--reference", "real"),
    "stored": ("features.npz", "--reference", "others.npz"),
    "reference": ("fake", "--reference", "moments.npz"),
    "generator": ("pattern.pt", "--reference", "real", "--num_gen", "12", "--z_dim", "6"),
}

ALIKE = ("npy", "tar", "parquet", "list")  # read by the same classes as the others


def option_words(item, given):
    """Return the words that give an option; None: the negation of a flag that is on."""
    return (f"--no{item.name}",) if given is None else (f"--{item.name}", *given)


@pytest.mark.parametrize("kind", [pytest.param(kind, marks=[pytest.mark.long] if kind in ALIKE else [])
                                  for kind in KINDS])
def test_every_option_acts_or_is_refused(inputs, kind, monkeypatch, tmp_path):
    monkeypatch.chdir(inputs)
    monkeypatch.setenv("GENPROBE_CACHE", str(tmp_path))
    monkeypatch.setattr("common.networks.inception_weights.load_inception", Stand)
    monkeypatch.setattr(inception, "LAYERS", WIDTHS)
    monkeypatch.setattr(inception, "NUM_CLASSES", 6)
    if not (inputs / KINDS[kind][0]).exists():
        pytest.skip("pyarrow is not installed")
    bases, idle = {}, []
    for command, table in (("clean", CleanOptions), ("fast", FastOptions)):
        for item in dataclasses.fields(table):
            if item.name in STRUCTURE | NO_EFFECT or (command == "fast" and item.name != "antialias"):
                continue
            before, given = SAMPLES[item.name]  # a KeyError: give a new option a sample
            words = (command, *KINDS[kind], *before, "--device", "cpu", "--quiet", "--json")
            if words not in bases:
                bases[words] = call_tool("compute_fid", *words)
            base = bases[words]
            if base.status == 2:  # of statistics that have no features
                assert any(what in base.err for what in ("needs features", "logits", "acts on image files")), base.err
                continue
            ended = call_tool("compute_fid", *words, *option_words(item, given))
            assert ended.status in (0, 2), (item.name, ended)
            if ended.status == 2:
                assert ended.err.count("\n") == 1, ended
            elif ended.results == base.results:
                idle.append(item.name)
    assert idle == []


def test_what_changes_no_results_is_never_refused(inputs, monkeypatch, tmp_path):
    monkeypatch.chdir(inputs)
    monkeypatch.setenv("GENPROBE_CACHE", str(tmp_path))
    values = {"batch_size": "3", "num_workers": "1", "device": "cpu", "cache_gb": "1",
              "output_dir": str(tmp_path / "o")}
    for kind in ("folder", "stored", "generator"):
        words = ("clean", *KINDS[kind], "--extractor", "small") if kind != "stored" else ("clean", *KINDS[kind])
        base = call_tool("compute_fid", *words, "--json").results
        for name in sorted(NO_EFFECT - {"dry_run", "json"}):
            ended = call_tool("compute_fid", *words, "--json", f"--{name}", *([values[name]] if name in values else []))
            assert ended.status == 0, (name, ended.err)
            close = pytest.approx(base["frechet_distance"] if "frechet_distance" in base else base["fid"], rel=1e-6)
            assert ended.results.get("frechet_distance", ended.results.get("fid")) == close
            shutil.rmtree(tmp_path / "o", ignore_errors=True)
