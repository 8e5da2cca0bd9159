"""What extract_subimages writes: tiles, names, layouts, kinds of photos."""

import json
import tarfile

import cv2
import numpy as np
import pytest

from common.datasets.dlas.chunked.centers import read_centers
from tests.tools.commands import refusal_of, results_of
from tests.tools.extract_subimages.photos import (
    SMALL,
    TOOL,
    call,
    contents,
    extract,
    make_photos,
    photo,
    read,
    refuse,
    write,
)


def lines(folder):
    """Return the geometry of a chunk: (about the photo, [about each tile])."""
    about, *tiles = (json.loads(line) for line in (folder / "geometry.jsonl").read_text().splitlines())
    return about, tiles


def test_tiles_lie_where_the_geometry_and_centres_say(tmp_path):
    pixels = photo()
    write(tmp_path / "in" / "a.png", pixels)
    results = extract(tmp_path / "in", tmp_path / "out", "--format", "png")
    about, tiles = lines(tmp_path / "out" / "a.png_left")
    square = pixels[:, 35:185]
    assert about["source"] == "a.png"
    assert about["frame"] == {"side": "left", "top": 0, "left": 35, "height": 150, "width": 150}
    assert results["tiles"] == about["tiles"] == len(tiles) == 5 * 5 + 3 * 3
    centers = read_centers(tmp_path / "out" / "a.png_left" / "centers.pt")
    assert list(centers) == [tile["id"] for tile in tiles] == list(range(1, 35))
    for tile in tiles:
        window = square[tile["top"] : tile["top"] + tile["crop"], tile["left"] : tile["left"] + tile["crop"]]
        expected = cv2.resize(window, (32, 32), interpolation=cv2.INTER_AREA)
        assert np.array_equal(read(tmp_path / "out" / "a.png_left" / f"{tile['id']:08d}.png"), expected)
        assert centers[tile["id"]] == (tuple(tile["center"]), tile["width"])
    reference = cv2.resize(square, (32, 32), interpolation=cv2.INTER_AREA)
    assert np.abs(read(tmp_path / "out" / "a.png_left" / "ref.jpg") - reference).mean() < 6


@pytest.mark.parametrize("layout", ["folders", "packed", "parquet", "virtual"])
def test_workers_change_no_byte(layout, tmp_path):
    make_photos(tmp_path / "in", 4)
    extract(tmp_path / "in", tmp_path / "one", "--layout", layout)
    extract(tmp_path / "in", tmp_path / "two", "--layout", layout, "--n_thread", "2")
    assert contents(tmp_path / "one") == contents(tmp_path / "two")
    assert not list((tmp_path / "two").rglob(".*"))


def test_all_layouts_hold_the_same_tiles(tmp_path):
    import pyarrow.parquet

    make_photos(tmp_path / "in", 2)
    for layout in ("folders", "packed", "parquet", "virtual"):
        extract(tmp_path / "in", tmp_path / layout, "--layout", layout, "--shard_mb", "1")
    expected = {path.relative_to(tmp_path / "folders").with_suffix("").as_posix(): path.read_bytes()
                for path in (tmp_path / "folders").rglob("*.jpg")}
    with tarfile.open(tmp_path / "packed" / "shard-000000.tar") as archive:
        members = {member.name: archive.extractfile(member).read() for member in archive}
    images = {name[:-4]: data for name, data in members.items() if name.endswith(".jpg")}
    assert {name.removeprefix("__references__/").replace("/__", "/"): data for name, data in images.items()} == expected
    rows = pyarrow.parquet.read_table(tmp_path / "parquet" / "shard-000000.parquet").to_pylist()
    references = {f"{row['key'][:-9]}/ref": row["reference"]["bytes"] for row in rows if row["reference"] is not None}
    assert {row["key"]: row["image"]["bytes"] for row in rows} | references == expected
    tiles = lines(tmp_path / "folders" / "a_left")[1]
    assert [json.loads(members[f"a_left/{tile['id']:08d}.json"]) for tile in tiles] == tiles
    index = [json.loads(line) for line in (tmp_path / "packed" / "shard-000000.jsonl").read_text().splitlines()]
    shard = (tmp_path / "packed" / "shard-000000.tar").read_bytes()
    for chunk in index:
        for name, offset, length, *_ in chunk["samples"]:
            assert shard[offset : offset + length] == expected[f"{chunk['chunk']}/{name}"]
    for name in ("a_left", "b_left"):
        about, told = lines(tmp_path / "virtual" / name)
        assert told == lines(tmp_path / "folders" / name)[1]
        virtual, folder = (read_centers(tmp_path / kind / name / "centers.pt") for kind in ("virtual", "folders"))
        assert virtual == folder
        square = read(tmp_path / "virtual" / name / "square.jpg")
        assert square.shape[:2] == (about["frame"]["height"], about["frame"]["width"])
        tile = told[-1]
        cut = cv2.resize(square[tile["top"] : tile["top"] + 64, tile["left"] : tile["left"] + 64], (32, 32),
                         interpolation=cv2.INTER_AREA)
        assert np.abs(cut - read(tmp_path / "folders" / name / f"{tile['id']:08d}.jpg")).mean() < 3


def test_shards_are_closed_by_size(tmp_path):
    rng = np.random.default_rng(0)
    for name in "abc":
        write(tmp_path / "in" / f"{name}.png", rng.integers(0, 256, (400, 400, 3), dtype=np.uint8))
    extract(tmp_path / "in", tmp_path / "out", "--layout", "packed", "--format", "png", "--shard_mb", "1")
    assert [path.name for path in sorted((tmp_path / "out").glob("*.tar"))] == ["shard-000000.tar", "shard-000001.tar",
                                                                                "shard-000002.tar"]
    assert results_of(TOOL, "inspect", tmp_path / "out")["tiles"] == results_of(TOOL, "inspect", tmp_path / "out",
                                                                                "--nodecode")["tiles"]


def test_kinds_of_photos(tmp_path):
    """Grey, alpha, 16 bits, palette, CMYK, TIFF, WebP and AVIF all give the tiles of the plain photo."""
    from PIL import Image

    pixels = photo()
    folder = tmp_path / "in"
    image = Image.fromarray(pixels[..., ::-1])
    write(folder / "plain.png", pixels)
    write(folder / "alpha.png", np.dstack([pixels, np.full(pixels.shape[:2], 99, np.uint8)]))
    write(folder / "deep.png", pixels.astype(np.uint16) * 257)
    image.save(folder / "tiff.tif")
    image.quantize(256).save(folder / "palette.png")
    image.convert("CMYK").save(folder / "cmyk.jpg", quality=98)
    image.save(folder / "webp.webp", lossless=True)
    image.save(folder / "avif.avif", quality=100)
    write(folder / "grey.png", cv2.cvtColor(pixels, cv2.COLOR_BGR2GRAY))
    write(folder / "greydeep.png", cv2.cvtColor(pixels, cv2.COLOR_BGR2GRAY).astype(np.uint16) * 257)
    results = extract(folder, tmp_path / "out", "--format", "png")
    assert (results["extracted"], results["skipped"]) == (10, {})

    def tile(name):
        return read(tmp_path / "out" / f"{name}_left" / "00000009.png")

    for name in ("alpha.png", "deep.png", "tiff.tif", "webp.webp"):
        assert np.array_equal(tile(name), tile("plain.png")), name
    for name, limit in (("palette.png", 12), ("cmyk", 12), ("avif.avif", 4)):
        assert np.abs(tile(name) - tile("plain.png")).mean() < limit, name
    assert tile("grey.png").shape == (32, 32, 3)
    assert np.array_equal(tile("grey.png"), tile("greydeep.png"))


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("ending", ["jpg", "png", "webp", "tif", "avif"])
def test_photos_are_turned_upright(orientation, ending, tmp_path):
    import io

    from PIL import Image, ImageOps

    from tools.extract_subimages.pixels import decode_photo, header

    exif = Image.Exif()
    exif[0x0112] = orientation
    stream = io.BytesIO()
    image = Image.fromarray(photo(1, 64, 96)[..., ::-1])
    image.save(stream, {"jpg": "JPEG", "tif": "TIFF"}.get(ending, ending.upper()), exif=exif,
               **({"quality": 95} if ending != "tif" else {}))
    opened = Image.open(io.BytesIO(stream.getvalue()))
    expected = np.asarray(ImageOps.exif_transpose(opened).convert("RGB")).astype(float)
    got = decode_photo(stream.getvalue()).pixels[..., ::-1]
    assert got.shape == expected.shape
    assert np.abs(got - expected).mean() < 3
    path = tmp_path / f"x.{ending}"
    path.write_bytes(stream.getvalue())
    assert header(path) == expected.shape[:2]


def test_noexif_leaves_them(tmp_path):
    from PIL import Image

    exif = Image.Exif()
    exif[0x0112] = 6
    (tmp_path / "in").mkdir()
    Image.fromarray(photo()[..., ::-1]).save(tmp_path / "in" / "a.jpg", exif=exif)
    extract(tmp_path / "in", tmp_path / "turned")
    extract(tmp_path / "in", tmp_path / "left", "--noexif")
    assert (lines(tmp_path / "turned" / "a_left")[0]["frame"]["top"],
            lines(tmp_path / "left" / "a_left")[0]["frame"]["top"]) == (35, 0)


def test_what_gives_no_tiles_is_named_and_counted(tmp_path):
    folder = make_photos(tmp_path / "in", 2)
    (folder / "broken.jpg").write_bytes((folder / "a.jpg").read_bytes()[:900])
    (folder / "empty.png").write_bytes(b"")
    (folder / "pixels.tif").write_bytes(cv2.imencode(".tiff", photo().astype(np.float32))[1].tobytes())
    write(folder / "small.png", photo(0, 40, 300))
    (folder / "moving.gif").write_bytes(b"GIF89a")
    (folder / "x_ref.jpg").write_bytes((folder / "a.jpg").read_bytes())
    (folder / "notes.txt").write_text("no image")
    (folder / "gone.jpg").symlink_to(folder / "nowhere.jpg")
    results = extract(folder, tmp_path / "out")
    assert results["extracted"] == 2
    assert results["skipped"] == {"file type not read": 1, "named as a reference": 1, "pixels of another kind": 1,
                                  "too small": 1, "unreadable": 3}
    assert results["num_skipped"] == 7
    assert results["other_files"] == 1
    report = (tmp_path / "out" / "skipped.csv").read_text().splitlines()
    assert report[0] == "file,reason,detail"
    assert sorted(row.split(",")[0] for row in report[1:]) == sorted(results["skipped_files"])


def test_nothing_to_write_is_status_2_and_leaves_nothing(tmp_path):
    write(tmp_path / "in" / "small.png", photo(0, 20, 20))
    line = refuse(tmp_path / "in", tmp_path / "out")
    assert "no tile from 1 image: 1 too small, such as small.png (20x20" in line
    assert not (tmp_path / "out").exists()
    (tmp_path / "empty").mkdir()
    assert "this folder is empty" in refuse(tmp_path / "empty", tmp_path / "out")


def test_stable_names_depend_on_the_path_alone(tmp_path):
    folder = make_photos(tmp_path / "in", 2)
    for path in ("sub/a.jpg", "a.png", "sub__a.jpg", "a.png.jpg", "a.JPG"):
        write(tmp_path / "x.jpg" if path.endswith("JPG") else folder / path, photo(7))
    (tmp_path / "x.jpg").rename(folder / "a.JPG")
    extract(folder, tmp_path / "out")
    names = {path.name for path in (tmp_path / "out").iterdir() if path.is_dir()}
    assert {"a_left", "b_left", "sub__a_left", "a.png_left", "a.JPG_left"} < names
    assert len(names) == 7
    before = contents(tmp_path / "out" / "b_left")
    (folder / "a.jpg").unlink()
    extract(folder, tmp_path / "again")
    assert contents(tmp_path / "again" / "b_left") == before


def test_original_naming_runs_on_over_what_proves_unusable(tmp_path):
    """A photo whose header is right and whose pixels are broken takes no number, as in the original."""
    folder = make_photos(tmp_path / "in", 3)
    data = write(folder / "ab.png", photo(5)).read_bytes()
    (folder / "ab.png").write_bytes(data[: len(data) // 2])
    results = extract(folder, tmp_path / "out", "--naming", "original")
    names = sorted(path.name for path in (tmp_path / "out").iterdir() if path.is_dir())
    assert names == ["a_left_0", "b_left_1", "c_left_2"]
    assert results["skipped_files"] == ["ab.png"]
    (folder / "ab.png").unlink()
    extract(folder, tmp_path / "clean", "--naming", "original")
    ours, clean = contents(tmp_path / "out"), contents(tmp_path / "clean")
    assert {name: ours[name]
            for name in clean if name != "skipped.csv"} == {name: clean[name]
                                                            for name in clean if name != "skipped.csv"}
    first, second = (read_centers(tmp_path / "out" / name / "centers.pt") for name in ("a_left_0", "b_left_1"))
    assert min(second) == max(first) + 2


def test_one_photo_more_renumbers_under_original_naming_without_a_mixture(tmp_path):
    folder = make_photos(tmp_path / "in", 2)
    extract(folder, tmp_path / "out", "--naming", "original")
    write(folder / "aa.jpg", photo(9))
    extract(folder, tmp_path / "out", "--naming", "original")
    extract(folder, tmp_path / "fresh", "--naming", "original")
    assert contents(tmp_path / "out") == contents(tmp_path / "fresh")


def test_options_file_flags_and_spellings(tmp_path):
    folder = make_photos(tmp_path / "in", 1)
    path = tmp_path / "options.yaml"
    path.write_text(f"input_folder: {folder}\nsave_folder: {tmp_path / 'out'}\ncrop_sz: [32, 64]\nstep: [32, "
                    f"48]\nthres_sz: 8\n"
                    "resize_final_img: [1, .5]\nmin_size: 64\nn_thread: 0\nuse_masking: false\nexclusions: [[], "
                    "[]]\ndest: file\n")
    plain = extract(folder, tmp_path / "plain")
    assert results_of(TOOL, "--options", path)["tiles"] == plain["tiles"]
    assert contents(tmp_path / "out") == contents(tmp_path / "plain")
    results = results_of(TOOL, "--options", path, "--save_folder", tmp_path / "less", "--step=64,64", "--quality", "50")
    assert results["tiles"] < plain["tiles"]
    (tmp_path / "wrong.json").write_text(json.dumps({"crop_size": [32]}))
    assert "unknown key 'crop_size'. Did you mean crop_sz?" in refusal_of(TOOL, "--options", tmp_path / "wrong.json")
    (tmp_path / "twice.json").write_text(json.dumps({"quality": 50, "compression_level": 90}))
    told = "'quality' and 'compression_level' are the same option. Give one of them."
    assert told in refusal_of(TOOL, "--options", tmp_path / "twice.json")
    assert "no such file" in refusal_of(TOOL, "--options", tmp_path / "none.yaml")


@pytest.mark.parametrize(("words", "told"), [
    (["--crop_sz", "32", "64", "96"], "3 crop sizes, 2 steps"),
    (["--compression_level", "101"], "must be from 0 to 100"),
    (["--crop_sz", "32", "x"], "expected an integer"), (["--dest", "lmdb"], "--layout packed"),
    (["--use_masking"], "no folder of masks"),
    (["--layout", "virtual", "--only_resize"], "no windows to cut later"), (["--step", "0", "1"], "give empty tiles"),
    (["--exclusions", "a", "b", "c"], "3 lists for 2 scales"), (["--cropsz", "1"], "Did you mean --crop_sz?"),
    (["--mode", "single"], "has a single scale"), (["--naming", "original", "--layout", "packed"], "running numbers"),
])
def test_wrong_options_are_named(words, told, tmp_path):
    make_photos(tmp_path / "in", 1)
    assert told in refuse(tmp_path / "in", tmp_path / "out", *words)
    assert not (tmp_path / "out").exists()


def test_folders_that_must_not_be_written_to(tmp_path):
    folder = make_photos(tmp_path / "in", 1)
    assert "is inside the folder of photos" in refuse(folder, folder / "tiles")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "thesis.txt").write_text("x")
    assert "holds thesis.txt" in refuse(folder, tmp_path / "full", "--overwrite")
    extract(folder, tmp_path / "out")
    (tmp_path / "out" / "run.json").unlink()
    assert "no record says what wrote it" in refuse(folder, tmp_path / "out")
    assert "no record says what wrote it" in refuse(folder, tmp_path / "out", "--overwrite")
    assert (tmp_path / "out" / "a_left").is_dir()
    assert (tmp_path / "full" / "thesis.txt").exists()


def test_masks_by_geometry(tmp_path):
    folder = make_photos(tmp_path / "in", 1)
    for mask in (np.repeat([[0, 255]], 2, axis=0), np.dstack([np.repeat([[0, 255]], 2, axis=0)] * 3)):
        write(tmp_path / "masks" / "a.jpg.png", mask.astype(np.uint8))
        extract(folder, tmp_path / "out", "--use_masking", "--mask_path", tmp_path / "masks", "--overwrite")
        about, tiles = lines(tmp_path / "out" / "a_left")
        assert 0 < len(tiles) < 34
        assert all(tile["left"] + tile["crop"] / 2 >= about["frame"]["width"] / 2 - 1 for tile in tiles)


def test_exclusions_only_resize_and_split(tmp_path):
    folder = make_photos(tmp_path / "in", 2)
    extract(folder, tmp_path / "out", "--exclusions", "", "b.j,zzz")
    assert {tile["scale"] for tile in lines(tmp_path / "out" / "b_left")[1]} == {0}
    assert {tile["scale"] for tile in lines(tmp_path / "out" / "a_left")[1]} == {0, 1}
    extract(folder, tmp_path / "whole", "--only_resize")
    assert [(tile["crop"], tile["size"], tile["center"], tile["width"])
            for tile in lines(tmp_path / "whole" / "a_left")[1]] == [(150, 32, [16, 16], 32)] * 2
    extract(folder, tmp_path / "split", "--vertical_split")
    left, right = (lines(tmp_path / "split" / f"a_{side}")[0] for side in ("left", "right"))
    assert left["frame"]["top"] == right["frame"]["top"] == 20
    assert left["chunks"] == ["a_left", "a_right"]
    extract(folder, tmp_path / "full", "--square", "none")
    about, tiles = lines(tmp_path / "full" / "a_left")
    assert (about["frame"]["width"], about["reference"]["top"]) == (220, 5)
    assert max(tile["left"] for tile in tiles) == 188


def test_duplicates_go_on_request(tmp_path):
    folder = make_photos(tmp_path / "in", 2)
    (folder / "copy.jpg").write_bytes((folder / "a.jpg").read_bytes())
    assert extract(folder, tmp_path / "all")["extracted"] == 3
    results = extract(folder, tmp_path / "out", "--dedup")
    assert (results["extracted"], results["skipped"]) == (2, {"duplicate": 1})
    assert "copy.jpg,duplicate,equals a.jpg" in (tmp_path / "out" / "skipped.csv").read_text()


def test_square_single_and_pair_modes(tmp_path):
    folder = tmp_path / "in"
    high = photo(3, 128, 192)
    write(folder / "hr" / "0001.png", high)
    write(folder / "hr" / "0002.png", high)
    write(folder / "hr" / "0003.png", high)
    write(folder / "lr" / "0001x4.png", cv2.resize(high, (48, 32), interpolation=cv2.INTER_AREA))
    write(folder / "lr" / "0002.png", high)
    results = results_of(TOOL, "--mode", "pair", "--input_folder", folder / "hr", "--pair_folder", folder / "lr",
                         "--crop_sz", "64",
                         "--step", "32", "--thres_sz", "0", "--save_folder", tmp_path / "pair", "--n_thread", "0")
    assert results["skipped"] == {"no partner": 1, "sizes do not fit": 1}
    names = sorted(path.name for path in (tmp_path / "pair" / "HR").iterdir())
    assert names == sorted(path.name for path in (tmp_path / "pair" / "LR").iterdir())
    assert len(names) == 15
    low = read(tmp_path / "pair" / "LR" / names[-1])
    assert np.abs(cv2.resize(read(tmp_path / "pair" / "HR" / names[-1]), (16, 16), interpolation=cv2.INTER_AREA)
                  - low).mean() < 1
    results_of(TOOL, "--mode", "square", "--input_folder", folder / "hr", folder / "lr", "--imgsize", "32", "16",
               "--save_folder", tmp_path / "sq")
    assert sorted(path.name for path in (tmp_path / "sq").glob("*.png"))[:2] == ["0001.png", "0001x4.png"]
    assert read(tmp_path / "sq" / "0001.png").shape == (16, 32, 3)
    assert len(list((tmp_path / "sq").glob("*.png"))) == 5  # 0002 is in both folders, and both are kept
    words = ("--mode", "single", "--input_folder", folder / "hr", "--save_folder", tmp_path / "single", "--min_size",
             "64", "--n_thread", "0")
    assert results_of(TOOL, *words)["tiles"] == 3 * 3 * 5
    assert read(tmp_path / "single" / "0001.png_l00000_s015.jpg").shape == (32, 32, 3)
    assert results_of(TOOL, *words)["tiles"] == 45  # answered


def test_dry_run_tells_and_writes_nothing(tmp_path):
    folder = make_photos(tmp_path / "in", 2)
    results = extract(folder, tmp_path / "out", "--dry_run")
    assert results["expected_tiles"] == 68
    assert not (tmp_path / "out").exists()


def test_444_keeps_colour_better(tmp_path):
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (150, 150, 3), dtype=np.uint8)
    write(tmp_path / "in" / "a.png", pixels)
    errors = []
    for chroma in ("420", "444"):
        extract(tmp_path / "in", tmp_path / chroma, "--subsampling", chroma)
        errors.append(np.abs(read(tmp_path / chroma / "a.png_left" / "00000001.jpg") - pixels[:32, :32]).mean())
    assert errors[1] < 0.5 * errors[0]


def test_help_shows_the_command():
    ended = call("--help")
    assert ended.status == 0
    assert "--crop_sz" in ended.out
    assert SMALL[0] == "--crop_sz"


def test_S19_a_missing_folder_is_named_by_its_own_flag(tmp_path):
    folder = make_photos(tmp_path / "in", 1)
    words = ("--input_folder", folder, "--save_folder", tmp_path / "out")
    assert "--pair_folder: missing required flag" in refusal_of(TOOL, *words, "--mode", "pair")
    assert "--input_folder: is empty" in refusal_of(TOOL, "--input_folder", "", "--save_folder", tmp_path / "out")


def test_S22_another_preview_is_drawn_and_halving_is_told(tmp_path):
    folder = make_photos(tmp_path / "in", 2)
    sheets = []
    for layout in ("folders", "packed"):
        for count in ("2", "1", "2"):
            extract(folder, tmp_path / layout, "--layout", layout, "--preview", count)
            sheets.append((tmp_path / layout / "preview.png").read_bytes())
        (folder / "a.jpg").touch()
        extract(folder, tmp_path / layout, "--layout", layout, "--preview", "2")
    assert sheets[0] == sheets[2] == sheets[3] == sheets[5] != sheets[1] == sheets[4]
    write(folder / "wide.png", photo(0, 100, 600))
    results = extract(folder, tmp_path / "halved", "--input_image_max_size_before_being_halved", "500")
    assert results["skipped_files"] == ["wide.png"]
    assert "50x300 after being halved" in (tmp_path / "halved" / "skipped.csv").read_text()
    (folder / "bad.png").write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(60))
    extract(folder, tmp_path / "bad")
    assert "OpenCV(" not in (tmp_path / "bad" / "skipped.csv").read_text()
