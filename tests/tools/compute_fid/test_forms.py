"""compute_fid reads what other programs write: statistics, features and sets of images in their own containers."""

import io
import os
import pickle
import tarfile
import zipfile

import numpy as np
import pytest
import torch
from PIL import Image

from common.features.sources import open_images
from tests.common.metrics.distances import frechet_distance_of_rows
from tests.common.metrics.pictures import write_folder
from tests.tools.commands import call_tool, refusal_of, results_of
from tests.tools.compute_fid.runs import SMALL, features, score


def test_M11_images_in_a_file_of_statistics_serve_the_metrics_that_need_features(here):
    """guided-diffusion's references: mu and sigma of the whole set, and some of its images as arr_0."""
    write_folder(here / "eight", 8)
    images, whole = open_images("eight"), features("real")
    np.savez(here / "adm.npz", arr_0=np.stack([images.load(index) for index in range(8)]), mu=whole.mean(0),
             sigma=np.cov(whole.astype(np.float64), rowvar=False))
    words = ("--metrics", "fid,kid,prdc,mind", "--nearest_k", "2")
    results = score("fake", "--reference", "adm.npz", *words)
    expected = score("fake", "--reference", "eight", *words)
    assert results["frechet_distance"] == pytest.approx(frechet_distance_of_rows(features("fake"), whole), rel=1e-5)
    for name in ("kid", "precision", "recall", "density", "coverage", "mind"):
        assert results[name] == pytest.approx(expected[name], rel=1e-6), name
    assert any("kid, prdc, mind: of the 8 images in adm.npz" in note for note in results["notes"])
    turned = score("adm.npz", "--reference", "fake", "--metrics", "kid")
    assert turned["kid"] == pytest.approx(expected["kid"], rel=1e-6)
    alone = score("fake", "--reference", "adm.npz")
    assert alone["frechet_distance"] == results["frechet_distance"]
    assert not any("of the 8 images" in note for note in alone["notes"])


def test_M11_the_entry_of_an_edm2_file_is_chosen_by_the_width_of_the_other_side(here):
    few = features("fake")[:, :12].astype(np.float64)
    moments = {"mu": few.mean(0), "sigma": np.cov(few, rowvar=False)}
    stored = {"num_images": 10, "fd_dinov2": moments, "fid": {"mu": np.zeros(4), "sigma": np.eye(4)}}
    (here / "edm2.pkl").write_bytes(pickle.dumps(stored))
    np.savez(here / "few.npz", feats=few.astype(np.float32))
    for words in (("few.npz", "--reference", "edm2.pkl"), ("edm2.pkl", "--reference", "few.npz")):
        results = results_of("compute_fid", "clean", *words, "--device", "cpu")
        assert results["frechet_distance"] == pytest.approx(0, abs=1e-6)


def containers(rows):
    """Return {file name: bytes or a function that writes it} of one set's statistics or features."""
    rows = rows.astype(np.float64)
    mean, covariance = rows.mean(0), np.cov(rows, rowvar=False)
    sums = {"capture_all": False, "capture_mean_cov": True, "max_items": None, "num_items": len(rows),
            "num_features": rows.shape[1], "all_features": None, "raw_mean": rows.sum(0), "raw_cov": rows.T @ rows}
    kept = {**sums, "capture_all": True, "raw_mean": None, "raw_cov": None,
            "all_features": [rows[:6].astype(np.float32), rows[6:].astype(np.float32)]}
    return {
        "short.npz": lambda path: np.savez(path, m=mean, s=covariance),
        "dict.npy": lambda path: np.save(path, {"mu": mean, "sigma": covariance}, allow_pickle=True),
        "stat-fid-128.pt": lambda path: torch.save({"mu": mean, "sigma": covariance}, path),
        "features-128.pt": lambda path: torch.save(torch.from_numpy(rows).float(), path),
        "stylegan3.pkl": lambda path: path.write_bytes(pickle.dumps(sums)),
        "stylegan3_all.pkl": lambda path: path.write_bytes(pickle.dumps(kept)),
        "stylegan.pkl": lambda path: path.write_bytes(pickle.dumps((mean, covariance), protocol=2)),
    }


@pytest.mark.parametrize("name", containers(np.eye(3)))
def test_small_statistics_in_other_programs_files_are_read(here, name):
    rows = features("fake")
    containers(rows)[name](here / name)
    results = score("real", "--reference", name)
    expected = frechet_distance_of_rows(features("real"), rows)
    if name == "stylegan3.pkl":  # its covariance divides by n
        from common.metrics.frechet import frechet_distance

        real = features("real").astype(np.float64)
        expected = frechet_distance(real.mean(0), np.cov(real, rowvar=False), rows.astype(np.float64).mean(0),
                                    np.cov(rows.astype(np.float64), rowvar=False, bias=True))
    assert results["frechet_distance"] == pytest.approx(expected, rel=1e-4)


def test_small_the_name_of_torch_fidelitys_cache_tells_the_network(here):
    name = "fake-inception-v3-compat-stat-fid-128.pt"
    containers(features("fake"))["stat-fid-128.pt"](here / name)
    line = refusal_of("compute_fid", "clean", "real", "--reference", name, "--quiet", *SMALL)
    assert f"{name} inception" in line


class Runs:
    """An object whose pickle would run code."""

    def __reduce__(self):
        return (print, ("run",))


@pytest.mark.parametrize("name", ["bad.npy", "bad.pkl"])
def test_small_a_foreign_file_that_would_run_code_is_refused(here, name, capsys):
    if name.endswith("npy"):
        np.save(here / name, np.array({"mu": Runs()}), allow_pickle=True)
    else:
        (here / name).write_bytes(pickle.dumps({"mu": Runs()}))
    assert "print" in refusal_of("compute_fid", "clean", "fake", "--reference", name, "--quiet", *SMALL)
    assert "run" not in capsys.readouterr().out


def test_M11_a_checkpoint_without_a_network_is_named_as_such(here):
    torch.save({"state_dict": {"a": torch.zeros(3)}, "pytorch-lightning_version": "2.0"}, here / "last.ckpt")
    torch.save({"state_dict": {"a": torch.zeros(3)}}, here / "weights.pth")
    for name, kind in (("last.ckpt", "a Lightning checkpoint"), ("weights.pth", "a checkpoint with a state_dict")):
        line = refusal_of("compute_fid", "clean", name, "--reference", "real", "--quiet", *SMALL)
        assert f"{name}: {kind}: weights, without the network" in line


def write_tar(path, files, mode="w"):
    with tarfile.open(path, mode) as archive:
        for image in files:
            archive.add(image, image.name)


def test_M11_images_in_tar_parquet_and_lists_are_sets(here):
    """Those of webdataset and of Hugging Face's data sets; shards in a folder are one set."""
    parquet, pyarrow = pytest.importorskip("pyarrow.parquet"), pytest.importorskip("pyarrow")
    expected = score("fake", "--reference", "real", "--metrics", "fid,kid")
    files = sorted((here / "fake").rglob("*.png"))
    write_tar(here / "fake.tar", files)
    (here / "shards").mkdir()
    for number, part in enumerate((files[:4], files[4:])):
        with tarfile.open(here / "shards" / f"{number}.tar", "w") as archive:
            for image in part:
                archive.add(image, image.name)
                archive.addfile(tarfile.TarInfo(f"{image.stem}.json"), io.BytesIO(b""))
    rows = [{"bytes": path.read_bytes(), "path": path.name} for path in files]
    table = pyarrow.table({"image": pyarrow.array(rows), "label": list(range(10))})
    parquet.write_table(table, here / "fake.parquet", row_group_size=3)
    (here / "list.txt").write_text("".join(f"{path.relative_to(here)}\n" for path in files))
    for place in ("fake.tar", "shards", "fake.parquet", "list.txt"):
        results = score(place, "--reference", "real", "--metrics", "fid,kid")
        assert results["num_generated"] == 10
        for name in ("frechet_distance", "kid"):
            assert results[name] == pytest.approx(expected[name], rel=1e-6), place
    results = results_of("setup_fid", "--action", "compute_new", "--path", "fake.tar", "--name", "x", "--n_imgs", "4",
                         *SMALL)
    assert results["num_images"] == 4


def test_M11_a_changed_tar_is_another_set_and_a_damaged_one_a_line(here):
    files = sorted((here / "fake").rglob("*.png"))
    write_tar(here / "set.tar", files)
    first = score("set.tar", "--reference", "real")["frechet_distance"]
    Image.fromarray(open_images("real").load(0)).save(files[0])
    write_tar(here / "set.tar", files)
    assert score("set.tar", "--reference", "real")["frechet_distance"] != pytest.approx(first, rel=1e-3)
    write_tar(here / "packed.tar", files, "w:gz")
    words = ("clean", "--reference", "real", "--quiet", *SMALL)
    assert "packed.tar: a compressed tar file" in refusal_of("compute_fid", "clean", "packed.tar", *words[1:])
    (here / "cut.tar").write_bytes((here / "set.tar").read_bytes()[:3000])
    assert "cut.tar" in refusal_of("compute_fid", "clean", "cut.tar", *words[1:])
    (here / "none.parquet").write_bytes(b"PAR1 broken")
    assert "none.parquet" in refusal_of("compute_fid", "clean", "none.parquet", *words[1:])
    (here / "list.txt").write_text("fake/020.png\nfake/none.png\n")
    assert "line 2 names no image file" in refusal_of("compute_fid", "clean", "list.txt", *words[1:])


class OneHot(torch.nn.Module):
    """z (n, 6) and one-hot labels (n, 3) -> images (n, 3, 8, 8) in [-1, 1], one grey level to a class."""

    def forward(self, z, c):
        level = (c @ torch.tensor([-0.9, -0.5, -0.1])).reshape(-1, 1, 1, 1)
        return level.expand(-1, 3, 8, 8) + z.mean(1).reshape(-1, 1, 1, 1) / 100


class Numbered(torch.nn.Module):
    """The same with labels by number."""

    def __init__(self):
        super().__init__()
        self.level = torch.nn.Embedding(3, 1)
        self.level.weight.data = torch.tensor([[-0.9], [-0.5], [-0.1]])

    def forward(self, z, y):
        return self.level(y).reshape(-1, 1, 1, 1).expand(-1, 3, 8, 8) + z.mean(1).reshape(-1, 1, 1, 1) / 100


@pytest.mark.parametrize("module", [OneHot, Numbered])
def test_small_a_module_of_codes_and_labels_is_a_generator(here, module):
    torch.jit.script(module()).save("classes.pt")
    words = ("classes.pt", "--reference", "real", "--num_gen", "30", "--z_dim", "6")
    line = refusal_of("compute_fid", "clean", *words, "--quiet", *SMALL)
    assert "--num_classes" in line
    every = score(*words, "--num_classes", "3")["frechet_distance"]
    assert score(*words, "--num_classes", "3", "-bs", "7", "--overwrite")["frechet_distance"] == pytest.approx(every)
    single = [score(*words, "--num_classes", "3", "--class_label", label)["frechet_distance"] for label in (0, 2)]
    assert every not in single
    assert single[0] != pytest.approx(single[1], rel=0.01)
    for more, what in ((("--num_classes", "3", "--class_label", "3"), "from 0 to 2"),
                       (("--class_label", "1"), "--num_classes")):
        assert what in refusal_of("compute_fid", "clean", *words, *more, "--quiet", *SMALL)


@pytest.mark.parametrize("option", ["-j", "-r"])
def test_small_none_is_a_number_of_workers_and_a_resolution(here, option):
    words = ("fake", "--reference", "real")
    expected = score(*words)["frechet_distance"]
    assert score(*words, option, "0", "--overwrite")["frechet_distance"] == pytest.approx(expected)


def test_small_images_without_an_action_are_answered_with_it(here):
    """The original's default action downloads; what holds images is meant for the other."""
    files = sorted((here / "fake").rglob("*.png"))
    with zipfile.ZipFile(here / "fake.zip", "w") as archive:
        archive.write(files[0], "a.png")
    (here / "list.txt").write_text(f"{files[0]}\n")
    np.savez(here / "images.npz", images=np.zeros((3, 8, 8, 3), np.uint8))
    for place in ("fake", "fake.zip", "list.txt", "images.npz", "digits"):
        assert "Add --action compute_new" in refusal_of("setup_fid", "--path", place, "--quiet", *SMALL)


def test_M13_a_resolution_beyond_all_sense_is_a_line(here):
    for size in ("100000", "3", "64 64 64"):
        words = ("--path", "real", "--action", "compute_new", "--name", "x", "-r", *size.split(), *SMALL)
        assert f"--resolution {size}" in refusal_of("setup_fid", *words)


def test_M9_features_of_any_float_type_are_the_same_set(here):
    """Other byte orders, long doubles, torch's bfloat16, features under a name, and a single row."""
    rows = features("fake").astype(np.float64)
    np.savez(here / "rows.npz", feats=rows)
    words = ("--metrics", "fid,kid,prdc,mind,vendi")
    expected = score("rows.npz", "--reference", "real", *words)
    np.save(here / "big.npy", rows.astype(">f8"))
    np.savez(here / "long.npz", pool_3=rows.astype(np.longdouble), logits=rows.astype(">f4"))
    torch.save({"features": torch.tensor(rows)}, here / "named.pt")
    torch.save(torch.tensor(rows).bfloat16().requires_grad_(), here / "short.pt")
    for name, near in (("big.npy", 1e-9), ("long.npz", 1e-9), ("named.pt", 1e-9), ("short.pt", 0.05)):
        found = score(name, "--reference", "real", *words)
        for metric in ("frechet_distance", "frechet_distance_se", "kid", "precision", "mind", "vendi"):
            assert found[metric] == pytest.approx(expected[metric], rel=near, abs=1e-3 if near > 1e-3 else 1e-12), name
    assert results_of("compute_fid", "clean", "long.npz", "--metrics", "is", "--splits", "2")["inception_score"] > 1
    np.savez(here / "one.npz", feats=rows[:1])
    line = refusal_of("compute_fid", "clean", "one.npz", "--reference", "real", *SMALL)
    assert "one.npz: features of one image" in line


def test_images_that_always_are_the_same_have_scores(here):
    """As of a collapsed generator: more images than features, and no covariance."""
    (here / "equal").mkdir()
    for number in range(130):
        (here / "equal" / f"{number:03d}.png").symlink_to(here / "fake" / "020.png")
    results = score("equal", "--reference", "real", "--metrics", "fid,kid,prdc,vendi")
    equal, real = features("fake")[:1].astype(np.float64), features("real").astype(np.float64)
    expected = np.sum((equal[0] - real.mean(0)) ** 2) + np.var(real, axis=0, ddof=1).sum()
    assert results["frechet_distance"] == pytest.approx(expected, rel=1e-5)
    assert results["frechet_distance_se"] > 0
    assert results["vendi"] == pytest.approx(1)


def test_S17_a_pipe_and_sizes_beyond_the_feature_space_are_images_left_out(here):
    os.mkfifo(here / "fake" / "pipe.png")
    Image.new("RGB", (1, 9)).save(here / "fake" / "thin.png")
    Image.new("RGB", (4096, 1025)).save(here / "fake" / "wide.png")
    results = score("fake", "--reference", "real")
    assert (results["num_generated"], results["excluded"]) == (10, 3)
    words = ("--action", "compute_new", "--path", "fake", "--name", "two words", *SMALL)
    ended = call_tool("setup_fid", *words)
    assert "pipe.png: is a pipe" in ended.err
    assert "thin.png: 1 x 9 pixels" in ended.err
    assert "wide.png: 4096 x 1025 pixels" in ended.err
    assert "--dataset_name 'two words'" in ended.err
    against = score("real", "--dataset_name", "Two words", "--output_dir", "scores")
    assert against["excluded_reference"] == 3  # M16
    assert score("real", "--dataset_name", "two words", "--output_dir", "scores") == against  # M14
