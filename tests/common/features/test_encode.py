"""Features of a set: the same rows whatever the batches, threads and interruptions; what cannot be used is named."""

import errno
import json
import os
import time

import numpy as np
import pytest
from PIL import Image

from common.datasets.sets.folders import FolderStore
from common.errors import InputError
from common.features import cache, content
from common.features import encode as encoding
from common.features.encode import encode
from common.features.resize import CoverAndCrop
from common.features.small_features import small_features
from common.features.sources import open_images
from common.features.spaces import SmallSpace
from common.files import system_errors
from tests.common.metrics.pictures import picture, write_folder, write_odd_folder


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("GENPROBE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(encoding, "PART", 5)


class Counting(SmallSpace):
    """A space that counts the images it has encoded, and may fail at some point."""

    def __init__(self, fail_after=None):
        super().__init__("cpu")
        self.encoded, self.fail_after = 0, fail_after

    def encode(self, prepared):
        self.encoded += len(prepared)
        if self.fail_after is not None and self.encoded > self.fail_after:
            raise KeyboardInterrupt
        return super().encode(prepared)


def rows(encoded):
    with encoded.statistics() as statistics:
        return statistics.features[: encoded.count]


def test_rows_are_the_features_in_order(tmp_path):
    images = open_images(write_folder(tmp_path / "real"))
    found = encode(images, Counting(), batch_size=4, workers=3)
    expected = [small_features(images.load(index)[None])[0] for index in range(12)]
    np.testing.assert_allclose(rows(found), expected, rtol=1e-6, atol=1e-7)
    assert found.count == 12
    assert found.excluded == []


@pytest.mark.parametrize(("batch_size", "workers"), [(1, 1), (3, 2), (50, 8)])
def test_batches_and_threads_do_not_matter(tmp_path, batch_size, workers):
    images = open_images(write_folder(tmp_path / "real"))
    first = rows(encode(images, Counting(), batch_size=4, workers=1))
    again = rows(encode(images, Counting(), batch_size=batch_size, workers=workers, overwrite=True))
    np.testing.assert_allclose(again, first, rtol=1e-6, atol=1e-7)


def test_a_second_run_and_another_path_cost_nothing(tmp_path):
    folder = write_folder(tmp_path / "real")
    encode(open_images(folder), Counting())
    folder.rename(tmp_path / "moved")
    space = Counting()
    assert encode(open_images(tmp_path / "moved"), space).count == 12
    assert space.encoded == 0
    assert encode(open_images(tmp_path / "moved", 6), space).count == 6
    assert space.encoded == 0


def test_an_interrupted_run_goes_on_and_ends_with_the_same_bytes(tmp_path, monkeypatch):
    images = open_images(write_folder(tmp_path / "real"))
    whole = encode(images, Counting(), batch_size=2)
    expected = whole.path.read_bytes()
    monkeypatch.setenv("GENPROBE_CACHE", str(tmp_path / "other"))
    with pytest.raises(KeyboardInterrupt):
        encode(images, Counting(fail_after=7), batch_size=2)
    damaged = next((tmp_path / "other").rglob("part_00000.npz"))
    damaged.write_bytes(damaged.read_bytes()[:50])  # of a disk, not of a kill: parts are written atomically
    space = Counting()
    assert encode(images, space, batch_size=2).path.read_bytes() == expected
    assert space.encoded == 12


def test_what_cannot_be_used_is_left_out_and_named(tmp_path, capsys):
    readable, broken = write_odd_folder(tmp_path / "odd")
    nan = picture(4).astype(np.float32)
    nan[0, 0, 0] = np.nan
    np.save(tmp_path / "odd" / "nan.npy", nan)
    found = encode(open_images(tmp_path / "odd"), Counting())
    encoding.report_excluded(found)
    assert found.count == readable
    assert len(found.excluded) == broken + 1
    assert {title.rpartition("/")[2] for title, _ in found.excluded} == {"broken.jpg", "short.png", "nan.npy"}
    assert "3 images" in capsys.readouterr().err


def test_M2_what_the_system_refuses_for_a_while_is_in_no_kept_set(tmp_path, monkeypatch):
    """Refused from the start: left out, and back the next time. Refused only after it was hashed: an error."""
    folder = write_folder(tmp_path / "real")
    read, hash_of = FolderStore.read, content._hash

    def refuse(path):
        if str(path).endswith("000.png"):
            raise PermissionError(errno.EACCES, "refused")
        return hash_of(path)

    def refuse_read(store, index):
        with system_errors(store.title(index)):
            refuse(store.title(index))
        return read(store, index)

    with monkeypatch.context() as patch:
        patch.setattr(FolderStore, "read", refuse_read)
        with pytest.raises(InputError, match="permission denied"):
            encode(open_images(folder), Counting())
        patch.setattr(content, "_hash", refuse)
        patch.setenv("GENPROBE_CACHE", str(tmp_path / "another"))
        found = encode(open_images(folder), Counting())
        assert (found.count, found.excluded) == (11, [[str(folder / "000.png"), "permission denied"]])
    monkeypatch.setenv("GENPROBE_CACHE", str(tmp_path / "another"))
    assert encode(open_images(folder), Counting()).count == 12


class NotFinite(Counting):
    """A network that gives NaN for its second image."""

    def encode(self, prepared):
        features, _ = super().encode(prepared)
        if self.encoded <= 4:
            features[1] = np.nan
        return features, None


def test_features_that_are_not_finite_are_left_out(tmp_path):
    found = encode(open_images(write_folder(tmp_path / "real")), NotFinite(), batch_size=4)
    assert found.count == 11
    assert [reason for _, reason in found.excluded] == ["its features hold NaN or infinity"]
    assert np.isfinite(rows(found)).all()


def test_too_few_images_are_an_error_that_names_one(tmp_path):
    (tmp_path / "bad").mkdir()
    for number in range(3):
        (tmp_path / "bad" / f"{number}.png").write_bytes(b"no")
    with pytest.raises(InputError, match=r"0 of 3 images are usable.*0\.png"):
        encode(open_images(tmp_path / "bad"), Counting())


def test_moments_are_kept_and_right(tmp_path):
    images = open_images("digits", 300)
    found = encode(images, SmallSpace("cpu"), batch_size=64)
    first = found.statistics()
    kept = json.loads((found.folder / "set.json").read_text())
    assert kept["count"] == 300
    again = found.statistics()
    np.testing.assert_array_equal(first.mean, again.mean)
    np.testing.assert_allclose(again.covariance, np.cov(rows(found).astype(np.float64), rowvar=False), rtol=1e-9,
                               atol=1e-12)


def test_one_image_more_is_one_image_encoded(tmp_path):
    """Wherever it stands in the order, and also where it takes the place of another."""
    folder = write_folder(tmp_path / "real")
    encode(open_images(folder), Counting())
    Image.fromarray(picture(77)).save(folder / "005b.png")
    space = Counting()
    found = encode(open_images(folder), space)
    assert (found.count, space.encoded) == (13, 1)
    expected = [small_features(open_images(folder).load(index)[None])[0] for index in range(13)]
    np.testing.assert_allclose(rows(found), expected, rtol=1e-6, atol=1e-7)
    Image.fromarray(picture(78)).save(folder / "000.png")
    space = Counting()
    assert encode(open_images(folder), space).count == 13
    assert space.encoded == 1
    space = Counting()
    encode(open_images(folder), space, change=CoverAndCrop((9, 9)))  # otherwise prepared, they are other rows
    assert space.encoded == 13
    space = Counting()
    encode(open_images(folder), space, overwrite=True)
    assert space.encoded == 13


def test_a_renamed_array_is_not_encoded_again(tmp_path):
    np.savez(tmp_path / "a.npz", images=np.stack([picture(number) for number in range(6)]))
    np.save(tmp_path / "a.npy", np.stack([picture(number) for number in range(6)]))
    for suffix in ("npz", "npy"):
        encode(open_images(tmp_path / f"a.{suffix}"), Counting())
        (tmp_path / f"a.{suffix}").rename(tmp_path / f"b.{suffix}")
        space = Counting()
        encode(open_images(tmp_path / f"b.{suffix}"), space)
        encode(open_images(tmp_path / f"b.{suffix}", 4), space)
        assert space.encoded == 0


def test_the_sets_used_longest_ago_go_first(tmp_path):
    kept = [encode(open_images(write_folder(tmp_path / name, 4, first=first)), Counting())
            for name, first in (("a", 0), ("b", 20), ("c", 40))]
    sizes = {entry.folder: sum(path.stat().st_size for path in entry.folder.iterdir()) for entry in kept}
    for age, entry in zip((30, 10, 20), kept):
        for path in entry.folder.iterdir():
            os.utime(path, (time.time() - age, time.time() - age))
    limit = (sum(sizes.values()) - 1) / 1e9
    assert cache.prune(limit) == []  # all are in use
    folders = [entry.folder for entry in kept]
    del kept, entry
    assert [folder for _, folder in cache.prune(limit)] == folders[:1]
    assert [(folder / "set.json").exists() for folder in folders] == [False, True, True]
    encode(open_images(tmp_path / "b"), Counting(), cache_gb=0.0)
    assert [(folder / "set.json").exists() for folder in folders] == [False, True, False]
    space = Counting()
    encode(open_images(tmp_path / "a"), space)
    assert space.encoded == 4


def test_statistics_hold_their_rows(tmp_path):
    """A second set's pruning does not take the first one's rows away."""
    statistics = encode(open_images(write_folder(tmp_path / "a", 4)), Counting()).statistics()
    encode(open_images(write_folder(tmp_path / "b", 4, first=20)), Counting(), cache_gb=0.0)
    assert np.isfinite(statistics.features[:4]).all()


class Doubled(Counting):
    """Another layer of a network: twice the features."""

    def __init__(self):
        super().__init__()
        self.meta = {"extractor": "doubled"}

    def encode(self, prepared):
        features, _ = super().encode(prepared)
        return 2 * features, None


class Paired(Counting):
    """A space that serves another one from the same pass."""

    def encode_in(self, spaces, prepared):
        found = self.encode(prepared)
        return [(found[0] * (2 if space.meta["extractor"] == "doubled" else 1), None) for space in spaces]


def test_two_layers_come_from_one_pass_and_are_two_sets(tmp_path):
    images = open_images(write_folder(tmp_path / "real"))
    first = Paired()
    both = encoding.encode_in([first, Doubled()], images, batch_size=4)
    assert first.encoded == 12
    np.testing.assert_allclose(rows(both[1]), 2 * rows(both[0]), rtol=1e-6)
    for space in (Paired(), Doubled()):
        assert encode(images, space).count == 12
        assert space.encoded == 0


def test_of_two_layers_only_what_is_missing_is_encoded(tmp_path):
    """One set is there already, of the other a part of the images."""
    folder = write_folder(tmp_path / "real")
    whole = rows(encode(open_images(folder), Paired()))
    encode(open_images(folder, 7), Doubled())
    spaces = [Paired(), Doubled()]
    both = encoding.encode_in(spaces, open_images(folder), batch_size=2)
    assert [space.encoded for space in spaces] == [0, 5]
    np.testing.assert_allclose(rows(both[0]), whole, rtol=1e-6)
    np.testing.assert_allclose(rows(both[1]), 2 * whole, rtol=1e-6)


def test_the_numbers_of_the_images_left_out_are_stored(tmp_path):
    folder = write_folder(tmp_path / "real", 6)
    (folder / "002.png").write_bytes(b"no picture")
    found = encode(open_images(folder), Counting())
    names = [open_images(folder).title(number) for number in found.skipped]
    assert [name.rpartition("/")[2] for name in names] == ["002.png"]
