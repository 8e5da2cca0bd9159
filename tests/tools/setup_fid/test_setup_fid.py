"""setup_fid: statistics where the user says, readable by clean-fid, made once, never half written."""

import errno
import io
import json
import tarfile

import numpy as np
import pytest
from PIL import Image

from common.features.statistics import read_statistics
from tests.common.metrics.pictures import picture, write_folder, write_odd_folder, write_zip
from tests.tools.commands import call_tool, refusal_of, results_of, torchrun_tool

SMALL = ("--extractor", "small", "--device", "cpu")


@pytest.fixture(autouse=True)
def here(own_folder):
    """Each test in a folder of its own, with 12 images in real/."""
    write_folder(own_folder / "real")
    return own_folder


def compute(*words):
    return results_of("setup_fid", "--action", "compute_new", "--path", "real", "--name", "mine", *SMALL, *words)


FILE = "mine_clean_small-features-v1_custom_na.npz"


def test_statistics_lie_where_the_user_says(here, monkeypatch):
    assert compute()["file"] == f"fid_stats/{FILE}"
    monkeypatch.setenv("GENPROBE_STATS", str(here / "shared"))
    assert compute()["file"] == str(here / "shared" / FILE)
    assert compute("--stats_dir", "given")["file"] == f"given/{FILE}"
    for folder in ("fid_stats", "shared", "given"):
        assert (here / folder / FILE).is_file()
    record = json.loads((here / "fid_stats" / FILE.removesuffix(".npz") / "run.json").read_text())
    assert record["tool"] == "setup_fid"
    assert record["results"]["num_images"] == 12


def test_the_file_holds_mean_and_covariance_of_the_features(here):
    results = compute("--kid")
    with np.load(results["kid_file"]) as stored:
        rows = stored["feats"].astype(np.float64)
    with np.load(results["file"]) as stored:
        assert (stored["mu"].dtype, stored["sigma"].dtype) == (np.float32, np.float64)
        np.testing.assert_allclose(stored["mu"], rows.mean(0), rtol=1e-6)
        np.testing.assert_allclose(stored["sigma"], np.cov(rows, rowvar=False), rtol=1e-9, atol=1e-14)
    assert read_statistics(results["file"]).count == 12


def test_a_name_in_capitals_is_found_again(here):
    assert "lower case" in call_tool("setup_fid", "--action", "compute_new", "--path", "real", "--name", "MINE",
                                     *SMALL).err
    assert (here / "fid_stats" / FILE).is_file()
    assert results_of("setup_fid", "show", "MINE_clean_small-features-v1_custom_na")["num_images"] == 12


def test_the_same_command_answers_at_once_and_another_is_refused(here):
    first = compute()
    before = (here / first["file"]).stat().st_mtime_ns
    assert compute() == first
    assert (here / first["file"]).stat().st_mtime_ns == before
    words = ("--action", "compute_new", "--path", "real", "--name", "mine", *SMALL)
    assert "has n_imgs -1, this command has 5" in refusal_of("setup_fid", *words, "--n_imgs", "5")
    assert compute("--n_imgs", "5", "--overwrite")["num_images"] == 5
    Image.fromarray(picture(50)).save(here / "real" / "000.png")
    assert "images" in refusal_of("setup_fid", *words, "--n_imgs", "5")  # the folder's contents have changed


def test_a_strangers_file_is_not_replaced_unasked(here):
    (here / "fid_stats").mkdir()
    np.savez(here / "fid_stats" / FILE, mu=np.zeros(3), sigma=np.eye(3))
    line = refusal_of("setup_fid", "--action", "compute_new", "--path", "real", "--name", "mine", *SMALL)
    assert "no record says what wrote it" in line
    assert compute("--overwrite")["num_images"] == 12


def test_a_zip_and_its_folder_give_the_same_file(here):
    first = (here / compute("--stats_dir", "a")["file"]).read_bytes()
    write_zip(here / "real.zip", here / "real")
    words = ("--action", "compute_new", "--path", "real.zip", "--name", "mine", *SMALL, "--stats_dir", "b")
    other = here / results_of("setup_fid", *words)["file"]
    with np.load(io.BytesIO(first)) as ours, np.load(other) as theirs:
        np.testing.assert_array_equal(ours["sigma"], theirs["sigma"])


def test_resolution_crops_before_the_network(here):
    """Rectangular too: statistics of images that were cropped beforehand are the same."""
    from common.features.resize import cover_and_crop

    for path in sorted((here / "real").rglob("*.png")):
        target = here / "cropped" / path.relative_to(here / "real")
        target.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(cover_and_crop(np.asarray(Image.open(path)), (8, 12))).save(target)
    ours = read_statistics(compute("-r", "8", "12")["file"])
    words = ("--action", "compute_new", "--path", "cropped", "--name", "other", *SMALL)
    np.testing.assert_allclose(ours.mean, read_statistics(results_of("setup_fid", *words)["file"]).mean, rtol=1e-6)
    assert ours.meta["resolution"] == [8, 12]


@pytest.mark.parametrize("size", [(8, 16), (8, 8)])
def test_squash_prepares_images_as_a_blobgan_is_trained(here, size):
    """The whole image to another shape than a square, by Pillow's Lanczos filter; to a square shorter side, middle."""
    for path in sorted((here / "real").rglob("*.png")):
        image = Image.open(path).convert("RGB")
        target = here / "prepared" / path.relative_to(here / "real")
        target.parent.mkdir(parents=True, exist_ok=True)
        if size == (8, 8):
            edge = min(image.size)
            image = image.resize((round(8 * image.width / edge), round(8 * image.height / edge)), Image.LANCZOS)
            left, top = round((image.width - 8) / 2), round((image.height - 8) / 2)
            image = image.crop((left, top, left + 8, top + 8))
        else:
            image = image.resize((16, 8), Image.LANCZOS)
        image.save(target)
    results = compute("-r", *size, "--fit", "squash")
    ours = read_statistics(results["file"])
    words = ("--action", "compute_new", "--path", "prepared", "--name", "other", *SMALL)
    np.testing.assert_allclose(ours.mean, read_statistics(results_of("setup_fid", *words)["file"]).mean, rtol=1e-6)
    assert results["fit"] == ours.meta["resolution_fit"] == ("cover" if size == (8, 8) else "squash")
    assert "has fit squash, this command has cover" in refusal_of(
        "setup_fid", "--action", "compute_new", "--path", "real", "--name", "mine", *SMALL, "-r", *size)


def test_squash_acts_on_a_resize_alone(here):
    words = ("--action", "compute_new", "--path", "real", "--name", "mine", *SMALL, "--fit", "squash")
    assert "--fit: acts on the resize" in refusal_of("setup_fid", *words)
    assert "--noantialias: acts on the resize" in refusal_of("setup_fid", *words, "-r", "8", "16", "--noantialias")


def test_images_that_cannot_be_read_are_counted(here):
    write_odd_folder(here / "odd")
    words = ("--action", "compute_new", "--path", "odd", "--name", "odd", *SMALL)
    ended = call_tool("setup_fid", *words, "--json")
    assert (ended.results["num_images"], ended.results["excluded"]) == (9, 2)
    assert "broken.jpg" in ended.err
    assert "short.png" in ended.err


def test_list_and_compare(here):
    compute()
    results_of("setup_fid", "--action", "compute_new", "--path", "real", "--name", "half", "--n_imgs", "6", *SMALL)
    (here / "fid_stats" / "broken.npz").write_bytes(b"PK")
    listed = call_tool("setup_fid", "list", "--json")
    names = {file["file"] for file in listed.results["files"] if file["folder"] == "fid_stats"}
    assert names == {FILE, FILE.replace("mine", "half")}
    assert "broken" in listed.err
    names = [FILE.removesuffix(".npz"), FILE.replace("mine", "half")]
    distance = results_of("setup_fid", "compare", *names)["frechet_distance"]
    assert distance > 0
    assert results_of("setup_fid", "compare", *reversed(names))["frechet_distance"] == pytest.approx(distance, rel=1e-9)
    assert results_of("setup_fid", "compare", names[0], names[0])["frechet_distance"] < 1e-9


def test_the_clean_fid_package_is_read_and_never_written(here, monkeypatch):
    package = here / "package" / "stats"
    package.mkdir(parents=True)
    monkeypatch.setattr("common.features.stats_store.package_dir", lambda: package)
    np.savez(package / "ffhq_clean_trainval_256.npz", mu=np.zeros(2048, np.float32), sigma=np.eye(2048))
    assert results_of("setup_fid", "show", "FFHQ")["width"] == 2048
    compute()
    assert [path.name for path in package.iterdir()] == ["ffhq_clean_trainval_256.npz"]


def archive(path, members):
    with tarfile.open(path, "w:gz") as tar:
        for name, data in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))


def test_download_says_where_and_takes_in_what_was_fetched(here):
    line = refusal_of("setup_fid")
    assert "http://efrosgans.eecs.berkeley.edu/blobgan/fid_stats.tar.gz" in line
    stream = io.BytesIO()
    np.savez(stream, mu=np.zeros(4), sigma=np.eye(4))
    archive(here / "fid_stats.tar.gz",
            {"stats/lsun_bedroom_clean_custom_na.npz": stream.getvalue(), "stats/../../evil.npz": stream.getvalue(),
                                        "stats/readme.txt": b"x"})
    results = results_of("setup_fid", "--path", "fid_stats.tar.gz")
    assert results["found"] == ["evil.npz", "lsun_bedroom_clean_custom_na.npz"]
    assert results["missing"] == ["lsun_conference", "lsun_kld"]
    assert not (here.parent / "evil.npz").exists()
    archive(here / "empty.tar.gz", {"readme.txt": b"x"})
    assert "no .npz file" in refusal_of("setup_fid", "--path", "empty.tar.gz")
    (here / "half.tar.gz").write_bytes((here / "fid_stats.tar.gz").read_bytes()[:60])
    assert "not a complete" in refusal_of("setup_fid", "--path", "half.tar.gz")


NEW = ("--action", "compute_new", "--path", "real", "--name", "mine", *SMALL)


@pytest.mark.parametrize(("words", "line"), [
    (("--action", "compute_new", "--name", "x"), "--path: required"),
    (("--action", "compute_new", "--path", "real"), "--name: required"),
    ((*NEW, "--n_imgs", "0"), "--n_imgs 0: must be -1 or above 0"),
    ((*NEW, "-bs", "0"), "--batch_size 0: must be at least 1"),
    ((*NEW, "-j", "-1"), "--num_workers -1: must be at least 0"),
    ((*NEW, "-r", "100000"), "--resolution 100000: expected one or two sizes in pixels, each from 8 to 8,192"),  # M13
    (NEW[2:], "--name: images are encoded with --action compute_new only. Add --action compute_new."),
    (("--path", "real"), "--path: images are encoded with --action compute_new only"),
    ((*NEW, "-r", "1", "2", "3"), "--resolution 1 2 3: expected one or two sizes"),
    ((*NEW[:3], "nowhere", *NEW[4:]), "nowhere: no such folder, file or data set"),
    ((*NEW[:5], "../up", *NEW[6:]), "invalid name '"),
    (("--action", "compute_new", "--path", "real", "--name", "x", "--weights", "no.pth"), "no Inception weights here"),
    (("--action", "compute_neu",), "choose from 'download', 'compute_new'"),
    (("show", "nothing"), "no statistics 'nothing'"),
    (("compare", "a"), "--help"),
    (("list", "--stats", "x"), "--stats: unknown flag. Did you mean --stats_dir?"),
])
def test_bad_input_is_one_line_and_nothing_is_written(here, words, line):
    assert line in refusal_of("setup_fid", *words)
    assert not (here / "fid_stats").exists()


def test_a_folder_without_images_and_a_place_that_is_a_file(here):
    (here / "empty").mkdir()
    assert "no images here" in refusal_of("setup_fid", *NEW[:3], "empty", *NEW[4:])
    (here / "fid_stats").write_text("in the way")
    assert "fid_stats" in refusal_of("setup_fid", *NEW)


def test_a_dry_run_writes_nothing(here):
    before = sorted(here.rglob("*"))
    assert compute("--dry_run")["num_images"] == 12
    assert [path for path in sorted(here.rglob("*")) if ".genprobe_cache" not in path.parts] == before


def test_clean_fid_finds_and_reads_inception_statistics(here, inception_weights, monkeypatch):
    """Under its own naming and with its own reader."""
    from tests.common.torchvision_guard import import_torchvision

    import_torchvision()
    import cleanfid
    from cleanfid.features import get_reference_statistics

    words = ("--action", "compute_new", "--path", "real", "--name", "Mine", "--weights", inception_weights, "-r", "32",
             "--kid")
    file = results_of("setup_fid", *words, "--device", "cpu", "--stats_dir", "stats")["file"]
    assert file == "stats/mine_clean_custom_na.npz"
    monkeypatch.setattr(cleanfid, "__file__", str(here / "cleanfid.py"))
    ours = read_statistics(file)
    mean, covariance = get_reference_statistics("Mine", "na", mode="clean", split="custom", metric="FID")
    np.testing.assert_allclose(mean, ours.mean, rtol=1e-6)
    np.testing.assert_array_equal(covariance, ours.covariance)
    rows = get_reference_statistics("Mine", "na", mode="clean", split="custom", metric="KID")
    np.testing.assert_allclose(rows.mean(0), ours.mean, rtol=1e-5)
    assert (ours.meta["extractor"], ours.meta["resize"], ours.meta["resolution"]) == ("inception", "clean", [32, 32])


@pytest.mark.long
def test_two_processes_give_the_bytes_of_one(here):
    words = ("--action", "compute_new", "--path", "photos32", "--n_imgs", "1300", "--name", "photos", *SMALL, "--quiet")
    one = here / results_of("setup_fid", *words[:-1], "--stats_dir", "one")["file"]
    ended = torchrun_tool(2, "setup_fid", *words, "--json", "--stats_dir", "two", "--overwrite")
    assert ended.status == 0, ended.err
    assert ended.results["num_images"] == 1300  # one object, from one process
    assert (here / ended.results["file"]).read_bytes() == one.read_bytes()


@pytest.mark.parametrize(("number", "what"), [(errno.ENOSPC, "no space left"), (errno.EROFS, "read-only")])
def test_a_full_or_read_only_place_is_one_line_and_nothing_is_half_written(here, monkeypatch, number, what):
    def refuse(descriptor):
        raise OSError(number, "refused")

    compute("--stats_dir", "warm")  # the features are in the cache
    monkeypatch.setattr("os.fsync", refuse)
    line = refusal_of("setup_fid", *NEW, "--stats_dir", "full", "--quiet")
    assert what in line
    assert [path for path in (here / "full").rglob("*") if path.is_file()] == []


def test_M1_a_fetched_file_in_the_place_of_made_ones_is_not_taken_for_them(here):
    """Its record goes with it: the same length is not the same file."""
    first = compute()
    fetched = here / "fetched" / FILE
    fetched.parent.mkdir()
    fetched.write_bytes((here / compute("--path", "digits", "--n_imgs", "12", "--stats_dir", "b")["file"]).read_bytes())
    results_of("setup_fid", "--path", fetched, "--overwrite")
    assert (here / first["file"]).read_bytes() == fetched.read_bytes()
    assert "no record says what wrote it" in refusal_of("setup_fid", *NEW)
    assert compute("--overwrite") == first


def test_M10_a_run_that_bad_input_ended_blocks_no_other(here):
    (here / "bad").mkdir()
    for name in ("a.png", "b.png"):
        (here / "bad" / name).write_bytes(b"no image")
    words = ("--action", "compute_new", "--name", "mine", *SMALL, "--path")
    line = refusal_of("setup_fid", *words, "bad", "--quiet")
    assert "0 of 2 images are usable" in line
    assert " at 0x" not in line  # M15
    assert not (here / "fid_stats").exists() or list((here / "fid_stats").rglob("*")) == []
    assert results_of("setup_fid", *words, "real", "-j", "0")["num_images"] == 12


@pytest.mark.parametrize("words", [("--split", "test"), ("--noantialias",), ("--weights", "no.pth")])
def test_M14_an_option_that_acts_on_nothing_is_refused(here, words):
    line = refusal_of("setup_fid", "--action", "compute_new", "--path", "real", "--name", "x", *SMALL, *words)
    assert f"{words[0]}: acts on" in line
    assert not (here / "fid_stats").exists()


def test_M14_shuffling_all_images_is_a_note_and_blocks_no_resume(here):
    words = ("--action", "compute_new", "--path", "real", "--name", "mine", *SMALL)
    assert "--shuffle acts on the choice" in call_tool("setup_fid", *words, "--shuffle").err
    assert "up to date" in call_tool("setup_fid", *words).err


def test_M16_the_whole_photo_beside_tiles_is_no_image_of_the_set(here):
    picture_of = Image.fromarray(picture(70))
    for number in range(3):
        (here / "tiles" / "photo").mkdir(parents=True, exist_ok=True)
        picture_of.save(here / "tiles" / "photo" / f"{number}.png")
    picture_of.save(here / "tiles" / "photo" / "ref.jpg")
    words = ("--action", "compute_new", "--path", "tiles", *SMALL, "--name")
    assert results_of("setup_fid", *words, "four")["num_images"] == 4
    (here / "tiles" / "photo" / "centers.pt").write_bytes(b"")
    assert results_of("setup_fid", *words, "three")["num_images"] == 3
