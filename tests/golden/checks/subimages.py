"""The extractors of DL-Art-School's chunked data sets: what lies where, exactly; pixels within what JPEG loses."""

import contextlib
import dataclasses
import io
import tempfile
from pathlib import Path

import numpy as np

from tests.golden.compare import Judged, within
from tests.golden.registry import check

THUMBS = PIXELS = 1.0  # of 255: means over a 4x4 grid, mean difference of decoded files
SQUARE_PNG = 1.0  # largest difference, of 255


def write_files(case, folder, prefix):
    """Write the files that a case holds as bytes under `prefix` into a folder."""
    for name, data in case.arrays.items():
        if name.startswith(prefix):
            path = folder / name.removeprefix(prefix)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data.tobytes())


def run_tool(given, source, target, **more):
    """Run the extractor with the original's naming and mistakes on an options dictionary; returns its error or None."""
    from common.errors import InputError
    from tools.extract_subimages.options import SubimageOptions
    from tools.extract_subimages.run import main

    known = {item.name for item in dataclasses.fields(SubimageOptions)}
    given = {name: value for name, value in given.items() if name in known}
    options = SubimageOptions(input_folder=[str(source)], save_folder=str(target), naming="original", compat="original",
                      quiet=True,
                      **{"n_thread": 0, **given, **more})
    try:
        with contextlib.redirect_stderr(io.StringIO()):
            main(options)
    except InputError as error:
        return error
    return None


def decoded(path):
    """Return the pixels of an image file as OpenCV reads them, BGR."""
    import cv2

    return cv2.imread(str(path), cv2.IMREAD_UNCHANGED)


def thumbs_of(pixels):
    """Return (3, 4, 4, C) float means of an image over a 4x4 grid, three ways.

    For sides that are multiples of 4 all are the same. For others the cases do not tell how the rest was shared out:
    uneven cells, even cells without the rest, or by area.
    """
    import cv2

    pixels = pixels.reshape(*pixels.shape[:2], -1).astype(np.float64)
    rows = [np.array_split(part, 4, axis=1) for part in np.array_split(pixels, 4, axis=0)]
    uneven = np.array([[cell.mean(axis=(0, 1)) for cell in row] for row in rows])
    high, wide = pixels.shape[0] // 4, pixels.shape[1] // 4
    even = pixels[: high * 4, : wide * 4].reshape(4, high, 4, wide, -1).mean(axis=(1, 3))
    area = cv2.resize(pixels, (4, 4), interpolation=cv2.INTER_AREA).reshape(4, 4, -1)
    return np.stack([uneven, even, area])


def within_thumb(got, expected):
    """Return the error over tolerance of `thumbs_of` a tile, by the way of sharing out that fits best."""
    return min(within(ours, np.asarray(expected).reshape(ours.shape), atol=THUMBS) for ours in got)


@check("subimages/tiling")
def tiling(case):
    """Every window of every (side, crop, step, threshold, reference side): origin, centre and width, in order."""
    from tools.extract_subimages.tiling import reference_of, tile_centre, tile_windows

    counts, rows = [], []
    for side, crop, step, threshold, reference_side, _ in case.arrays["cases"].tolist():
        reference = reference_of(side, side, reference_side)
        windows = tile_windows(side, crop, step, threshold)
        counts.append(len(windows))
        rows += [(top, left, *tile_centre(top, left, crop, reference)) for top, left in windows]
    return Judged({
        "windows": within(np.array(counts), case.arrays["cases"][:, 5]),
        "origins": within(np.array(rows, dtype=np.int64).reshape(-1, 5), case.arrays["origins"]),
    })


@check("subimages/extract")
def extract(case):
    """The whole data set: folders, listings, centers.pt, tiles and references."""
    given = {name: value for name,
             value in case.spec["options"].items()
             if name not in ("input_folder", "save_folder", "mask_path", "n_thread")}
    given["exclusions"] = [",".join(row) for row in given.get("exclusions", [])]
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        for name in ("in", "mask"):
            (place / name).mkdir()
            write_files(case, place / name, f"{name}/")
        error = run_tool(given, place / "in", place / "out", mask_path=str(place / "mask"))
        if error is not None and len(case.arrays["folders"]):
            raise error
        return Judged(compare_chunks(case, place / "out"))


def compare_chunks(case, out):
    """Return {what: error over tolerance} of a written data set."""
    from common.datasets.dlas.chunked.centers import read_centers

    folders = sorted(path.name for path in out.iterdir() if path.is_dir()) if out.is_dir() else []
    found = {"folders": within(np.array(folders, dtype=str), np.asarray(case.arrays["folders"], dtype=str))}
    if found["folders"]:
        return found
    rows, thumbs = [], []
    for index, name in enumerate(folders):
        names = sorted(path.name for path in (out / name).iterdir() if path.suffix != ".jsonl")
        if name in case.spec.get("listing", {}):
            found[f"{name} listing"] = 0.0 if names == sorted(case.spec["listing"][name]) else float("inf")
        centers = read_centers(out / name / "centers.pt")
        for tile in sorted(file for file in names if file[:-4].isdigit()):
            pixels = decoded(out / name / tile)
            (row, col), width = centers[int(tile[:-4])]
            rows.append((index, int(tile[:-4]), row, col, width, *pixels.shape[:2]))
            thumbs.append(thumbs_of(pixels))
    found["tiles"] = within(np.array(rows, dtype=np.int64).reshape(-1, 7), case.arrays["tiles"])
    if not found["tiles"]:
        pairs = zip(thumbs, case.arrays["thumbs"])
        found["thumbs"] = max((within_thumb(got, expected) for got, expected in pairs), default=0.0)
        found |= compare_files(case, out)
    return found


def compare_files(case, out):
    """Return the ratios of the files whose bytes the case holds: centers as dictionaries, images as decoded pixels."""
    import cv2

    from common.datasets.dlas.chunked.centers import read_centers

    found = {}
    with tempfile.TemporaryDirectory() as folder:
        for name, data in case.arrays.items():
            if not name.startswith("out/"):
                continue
            ours = out / name.removeprefix("out/")
            if name.endswith("centers.pt"):
                theirs = Path(folder) / "centers.pt"
                theirs.write_bytes(data.tobytes())
                same = list(read_centers(ours).items()) == list(read_centers(theirs).items())
                found[name] = 0.0 if same else float("inf")
            else:
                expected = cv2.imdecode(data, cv2.IMREAD_UNCHANGED).astype(np.float64)
                found[name] = float(np.abs(decoded(ours)
                                           - expected).mean() / PIXELS) if ours.is_file() else float("inf")
    return found


@check("subimages/square")
def square(case):
    """Each configuration of the square extractor: names, sizes and pixels, or that it fails."""
    found = {}
    for name, config in case.spec["configs"].items():
        given = {"imgsize": list(config["options"]["imgsize"]), "bottom_crop": config["options"]["bottom_crop"],
                 "keep_folder": config["options"].get("keep_folder", False), "format": config["options"]["format"]}
        given |= write_options(config["options"].get("cv2_write_options", []))
        with tempfile.TemporaryDirectory() as folder:
            place = Path(folder)
            write_files(case, place / "in", "in/")
            error = run_tool(given, place / "in", place / "out", mode="square")
            found |= compare_images(case, name, config, place / "out", compare_square)
            if config.get("error"):
                failed = error is not None or "no file type" in (place / "out" / "skipped.csv").read_text()
                found[f"{name} fails"] = 0.0 if failed else float("inf")
    return Judged(found)


def write_options(flags):
    """Return our options for the original's OpenCV flags: 1 is JPEG's quality, 16 PNG's level."""
    named = dict(zip(flags[::2], flags[1::2]))
    return {ours: named[theirs] for theirs, ours in ((1, "compression_level"), (16, "png_level")) if theirs in named}


def compare_square(pixels, expected, file):
    """PNG within 1/255, JPEG on average."""
    difference = np.abs(pixels.astype(np.float64) - expected)
    return float(difference.max(initial=0) / SQUARE_PNG if file.endswith(".png") else difference.mean() / PIXELS)


def compare_images(case, name, config, out, compare):
    """Return the ratios of one configuration's files."""
    written = sorted(path.relative_to(out).as_posix()
                     for path in out.rglob("*") if path.suffix in (".jpg", ".png", ".jpeg", ".webp"))
    found = {f"{name} names": 0.0 if written == sorted(config["outputs"]) else float("inf")}
    for file, shape in config["outputs"].items():
        if file not in written:
            continue
        pixels = decoded(out / file)
        found[f"{name} {file} shape"] = 0.0 if list(pixels.shape) == list(shape) else float("inf")
        expected = case.arrays.get(f"{name}/out/{file}")
        if expected is not None and list(pixels.shape) == list(shape):
            found[f"{name} {file}"] = compare(pixels, expected, file)
    return found


@check("subimages/subimages_single")
def subimages_single(case):
    """Each configuration of the single-scale extractor: names, sizes, means over a 4x4 grid."""
    found = {}
    for name, config in case.spec["configs"].items():
        given = dict(config["options"])
        given.setdefault("compression_level", 95)  # OpenCV's own, which the original falls back to
        given["min_size"] = given.pop("image_minimum_size_threshold", 0)
        given = {key: value for key, value in given.items() if key not in ("n_thread", "input_folder", "save_folder")}
        given["resize_final_img"] = [float(given.get("resize_final_img", 1.0))]
        given["crop_sz"], given["step"] = [int(given["crop_sz"])], [int(given["step"])]
        with tempfile.TemporaryDirectory() as folder:
            place = Path(folder)
            write_files(case, place / "in", "in/")
            error = run_tool(given, place / "in", place / "out", mode="single",
                             vertical_split=config.get("split_img", False))
            if error is not None and config["outputs"]:
                raise error
            found |= compare_images(case, name, config, place / "out",
                                    lambda pixels, expected, file: within_thumb(thumbs_of(pixels), expected))
    return Judged(found)
