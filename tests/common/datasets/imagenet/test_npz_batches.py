"""npz batches: numeric order, any rows in any form, an index that is kept and made anew when files change."""

import os
from unittest import mock

import numpy as np
import pytest

from common.datasets.imagenet import npz_batches as imagenet_npz
from common.datasets.imagenet import unpacked as imagenet_unpacked
from common.datasets.imagenet.npz_batches import open_npz_batches
from common.datasets.imagenet.npz_names import batch_paths
from common.errors import InputError
from common.formats.npz import npz_place
from tests.common.datasets.imagenet_files import SIDE, write_batches


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("GENPROBE_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.mark.parametrize("form", ["stored", "deflated", "pickle"])
def test_any_images_in_any_order_from_every_form(form, tmp_path):
    pixels, labels = write_batches(tmp_path / "set", form=form)
    wanted = np.random.default_rng(0).permutation(len(pixels))
    for indices in (wanted, wanted[:5], np.sort(wanted), np.array([3, 3, 17]), wanted[:0]):
        with open_npz_batches(tmp_path / "set") as images:
            np.testing.assert_array_equal(images.labels, labels)
            images.unpack(indices)
            np.testing.assert_array_equal(images.read(indices), pixels[indices])
            images.announce(indices)


def test_files_count_in_the_order_of_their_numbers(tmp_path):
    pixels, _ = write_batches(tmp_path, [1] * 11, range(1, 12))
    np.savez(tmp_path / "val_data", data=np.zeros((2, 192), np.uint8), labels=[1, 2])
    assert [path.stem[17:] for path in batch_paths(tmp_path)[0]] == [str(number) for number in range(1, 12)]
    np.testing.assert_array_equal(open_npz_batches(tmp_path).read(np.arange(11)), pixels)
    assert [path.stem for path in batch_paths(tmp_path, "val")[0]] == ["val_data"]
    assert len(open_npz_batches(tmp_path, "val")) == 2
    for path in tmp_path.glob("train*"):
        path.unlink()
    assert [path.stem for path in batch_paths(tmp_path)[0]] == ["val_data"]


def test_the_index_is_kept_and_made_anew_when_a_file_changes(tmp_path, cache):
    write_batches(tmp_path)
    first = open_npz_batches(tmp_path)
    with mock.patch.object(imagenet_npz, "_make_index", side_effect=AssertionError):
        again = open_npz_batches(tmp_path)
    assert again.batches == first.batches
    np.testing.assert_array_equal(again.labels, first.labels)
    pixels, labels = write_batches(tmp_path, seed=5)
    os.utime(tmp_path / "train_data_batch_1.npz", ns=(1, 1))
    changed = open_npz_batches(tmp_path)
    np.testing.assert_array_equal(changed.labels, labels)
    np.testing.assert_array_equal(changed.read([0, 17]), pixels[[0, 17]])
    (kept,) = (cache / "imagenet_npz").glob("index_*.npz")
    kept.write_bytes(kept.read_bytes()[:100])
    np.testing.assert_array_equal(open_npz_batches(tmp_path).labels, labels)


def test_a_compressed_file_is_inflated_once(tmp_path):
    pixels, _ = write_batches(tmp_path, form="deflated")
    passes = []

    def counted(batch, stream=imagenet_unpacked.stream_rows):
        passes.append(batch.path.name)
        return stream(batch)

    with mock.patch.object(imagenet_unpacked, "stream_rows", counted):
        for wanted in (np.array([16, 1, 9]), np.array([16, 1, 9])):
            images = open_npz_batches(tmp_path)
            images.unpack(wanted)
            np.testing.assert_array_equal(images.read(wanted), pixels[wanted])
        assert len(passes) == 3
        open_npz_batches(tmp_path).unpack()
        assert len(passes) == 6
        images = open_npz_batches(tmp_path)
        images.unpack(np.array([2, 5]))  # from the copy of all
        np.testing.assert_array_equal(images.read([5]), pixels[[5]])
        assert len(passes) == 6


def test_only_files_with_wanted_rows_are_inflated(tmp_path):
    write_batches(tmp_path, form="deflated")
    with mock.patch.object(imagenet_unpacked, "stream_rows", wraps=imagenet_unpacked.stream_rows) as stream:
        open_npz_batches(tmp_path).unpack(np.array([8]))
    assert [call.args[0].path.name for call in stream.call_args_list] == ["train_data_batch_2.npz"]


def test_rows_that_were_not_unpacked_are_not_read(tmp_path):
    write_batches(tmp_path, form="deflated")
    images = open_npz_batches(tmp_path)
    with pytest.raises(RuntimeError):
        images.read([1])
    images.unpack(np.array([3]))
    with pytest.raises(RuntimeError):
        images.read([1])
    assert imagenet_unpacked.unpack(open_npz_batches(tmp_path), np.array([3])).numbers.tolist() == [3]


def test_many_rows_in_a_row_take_several_calls(tmp_path):
    pixels, _ = write_batches(tmp_path, counts=(1200,), numbers=(1,))
    np.testing.assert_array_equal(open_npz_batches(tmp_path).read(np.arange(1200)), pixels)


def bad_files():
    good = {"data": np.zeros((2, 3 * SIDE**2), np.uint8), "labels": np.array([1, 2])}
    return {
        "labels run 0 .. 1": {**good, "labels": np.array([0, 1])},
        "labels run 1 .. 1001": {**good, "labels": np.array([1, 1001])},
        "'labels' is float64": {**good, "labels": np.array([1.0, 2.0])},
        "for 2 images": {**good, "labels": np.array([1])},
        "'data' is float32": {**good, "data": good["data"].astype(np.float32)},
        "'data' is uint8 (2, 190)": {**good, "data": np.zeros((2, 190), np.uint8)},
        "'labels' is not in the file": {"data": good["data"]},
        "'data' is not in the file": {"labels": good["labels"]},
    }


@pytest.mark.parametrize("what", bad_files())
def test_foreign_files_are_refused_by_name(what, tmp_path):
    np.savez(tmp_path / "train_data_batch_1.npz", **bad_files()[what])
    with pytest.raises(InputError) as caught:
        open_npz_batches(tmp_path)
    assert what in str(caught.value)
    assert "train_data_batch_1.npz" in str(caught.value)


@pytest.mark.parametrize("form", ["stored", "deflated", "pickle"])
@pytest.mark.parametrize("share", [0.1, 0.5, 0.99])
def test_truncated_files_are_refused(form, share, tmp_path):
    write_batches(tmp_path, form=form)
    path = batch_paths(tmp_path)[0][1]
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * share)])
    with pytest.raises(InputError, match="train_data_batch_2"):
        open_npz_batches(tmp_path)


def test_a_file_cut_short_behind_the_index_is_refused(tmp_path):
    write_batches(tmp_path)
    images = open_npz_batches(tmp_path)
    os.truncate(tmp_path / "train_data_batch_1.npz", 700)
    with pytest.raises(InputError, match="ends before row"):
        images.read([6])


def test_other_sizes_in_one_folder_and_empty_folders_are_refused(tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="No NPZ files found"):
        open_npz_batches(tmp_path / "empty")
    write_batches(tmp_path)
    np.savez(tmp_path / "train_data_batch_3", data=np.zeros((2, 768), np.uint8), labels=[1, 2])
    with pytest.raises(InputError, match="16 x 16"):
        open_npz_batches(tmp_path)


def test_a_pickle_that_would_run_code_is_refused(tmp_path):
    (tmp_path / "train_data_batch_1").write_bytes(b"cos\nsystem\n(S'true'\ntR.")
    with pytest.raises(InputError, match="os.system"):
        open_npz_batches(tmp_path)


def test_npz_place_finds_the_rows(tmp_path):
    values = np.arange(30, dtype=np.int32).reshape(10, 3)
    np.savez(tmp_path / "stored.npz", other=np.zeros(5), rows=values)
    shape, dtype, offset = npz_place(tmp_path / "stored.npz", "rows")
    data = (tmp_path / "stored.npz").read_bytes()[offset : offset + values.nbytes]
    np.testing.assert_array_equal(np.frombuffer(data, dtype).reshape(shape), values)
    np.savez_compressed(tmp_path / "deflated.npz", rows=values)
    assert npz_place(tmp_path / "deflated.npz", "rows") == ((10, 3), np.int32, None)
