"""outputs.npz: old forms are read, bad ones are named, columns take little memory."""

import subprocess
import sys

import numpy as np
import pytest

from common.errors import InputError
from common.rcps.outputs import KEYS, LOWER, POINT, TRUTH, UPPER, Outputs, write_outputs


def arrays(count=6, dims=5, kind=np.float32):
    """Return the four arrays of a file, and its statistics."""
    rng = np.random.default_rng(0)
    point = rng.normal(size=(count, dims)).astype(kind)
    zero = np.zeros(dims, np.float32)
    return {TRUTH: point + 0.1, POINT: point, LOWER: point - 1, UPPER: point + 1, "mean_style_space_vector": zero,
            "min_style_space_vector": zero - 2, "max_style_space_vector": zero + 2, "style_dims": np.array([0, dims])}


def save(path, **changed):
    """Write a file with some arrays changed or (None) left out; return its path."""
    kept = {name: array for name, array in {**arrays(), **changed}.items() if array is not None}
    np.savez(path, **kept)
    return path


def test_columns_are_those_of_numpy(tmp_path):
    outputs = Outputs(save(tmp_path / "outputs.npz"))
    found = outputs.columns([3, 0])
    for key in KEYS:
        assert (found[key] == arrays()[key][:, [3, 0]]).all()
    assert (outputs.count, outputs.num_dims) == (6, 5)


def test_list_shaped(tmp_path):
    plain = arrays()
    nested = {key: plain[key][:, None] for key in KEYS}
    as_list = {key: list(plain[key][:, None]) for key in KEYS}
    row = plain["mean_style_space_vector"][None]
    for changed in (nested, as_list):
        outputs = Outputs(save(tmp_path / "outputs.npz", **changed, min_style_space_vector=row))
        assert (outputs.columns([1, 2])[POINT] == plain[POINT][:, [1, 2]]).all()
        assert outputs.vector("min", [0, 1]).shape == (2,)


def test_half_floats(tmp_path):
    path = save(tmp_path / "outputs.npz", **{key: arrays(kind=np.float16)[key].astype(np.float16) for key in KEYS})
    assert Outputs(path).columns([0])[POINT].dtype == np.float32


def test_nan_row(tmp_path):
    lower = arrays()[LOWER]
    lower[4, 2] = np.nan
    path = save(tmp_path / "outputs.npz", **{LOWER: lower})
    with pytest.raises(InputError, match=r"row 4 of 'all_sv_hat_lq' holds NaN or infinity \(in 1 row\)"):
        Outputs(path).columns([2])


def test_zero_truth(tmp_path):
    truth = arrays()[TRUTH]
    truth[1], truth[3] = 0, np.nan
    outputs = Outputs(save(tmp_path / "outputs.npz", **{TRUTH: truth}))
    assert outputs.has_truth().tolist() == [True, False, True, False, True, True]
    outputs.columns([0, 1])  # rows without a truth may be NaN


def test_object_arrays(tmp_path):
    ragged = np.empty(6, object)
    ragged[:] = [np.zeros((1, 5))] * 6
    path = tmp_path / "outputs.npz"
    np.savez(path, **{**arrays(), POINT: ragged})
    with pytest.raises(InputError, match=r"'all_sv_hat' holds Python objects\. Save numpy\.stack\(list\) instead"):
        Outputs(path)


@pytest.mark.parametrize("name", KEYS)
def test_missing_array_is_named(tmp_path, name):
    with pytest.raises(InputError, match=f"has no array '{name}'"):
        Outputs(save(tmp_path / "outputs.npz", **{name: None}))


def test_shapes_that_do_not_agree_are_named(tmp_path):
    with pytest.raises(InputError, match="'all_sv_hat_lq' is for 6 images and 4 coordinates"):
        Outputs(save(tmp_path / "outputs.npz", **{LOWER: arrays()[LOWER][:, :4]}))


def test_statistics_may_be_missing_until_they_are_needed(tmp_path):
    outputs = Outputs(save(tmp_path / "outputs.npz", mean_style_space_vector=None, style_dims=np.array(5)))
    with pytest.raises(InputError, match="has no 'mean_style_space_vector'"):
        outputs.vector("mean", [0])


def test_written_file_is_read_again(tmp_path):
    plain, path = arrays(), tmp_path / "outputs.npz"
    blocks = {key: iter([plain[key][:4], plain[key][4:]]) for key in KEYS}
    write_outputs(path, blocks, 6, 5, statistics={"mean": np.ones(5)}, image_names=[f"img_{i}" for i in range(6)],
                  resize_factor=16, encoder="abc")
    outputs = Outputs(path)
    assert (outputs.columns(range(5))[UPPER] == plain[UPPER]).all()
    assert outputs.names.tolist() == [f"img_{i}" for i in range(6)]
    assert (int(outputs.small["resize_factor"]), str(outputs.small["encoder"])) == (16, "abc")
    with np.load(path, allow_pickle=False) as archive:  # as the original reads it
        assert {*KEYS, "mean_style_space_vector", "style_dims"} <= {*archive.files}


@pytest.mark.skipif(sys.platform != "linux", reason="ru_maxrss in kilobytes")
def test_columns_not_files(tmp_path):
    count, dims = 500, 9088  # 73 MB
    path = tmp_path / "outputs.npz"
    row = np.ones((1, dims), np.float32)
    write_outputs(path, {key: (row for _ in range(count)) for key in KEYS}, count, dims)
    code = ("import resource, sys, numpy; from common.rcps.outputs import Outputs\n"
            "import common.formats.npz; outputs = Outputs(sys.argv[1])\n"
            "before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
            "outputs.columns(list(range(0, 9088, 280)))\n"
            "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)")
    done = subprocess.run([sys.executable, "-c", code, str(path)], capture_output=True, text=True, check=True)
    assert int(done.stdout) <= 16 * 1024
