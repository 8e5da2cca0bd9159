"""The flags of `extract_subimages`, the original's options files, and the checks between flags."""

import copy
import dataclasses
import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import List, Optional

from common.errors import InputError, nearest
from common.options import CommonOptions, check_bounds, option

MODES = ["multiscale", "single", "square", "pair"]
LAYOUTS = ["folders", "packed", "parquet", "virtual"]
SPELLINGS = {"quality": "compression_level", "image_minimum_size_threshold": "min_size", "split_img": "vertical_split",
             "output_dir": "save_folder"}
IGNORED = {"cv2_write_options"}  # of the square extractor; compression_level and png_level replace it
# Defaults by mode (for multiscale those of the original's documentation).
DEFAULTS = {
    "multiscale": {"crop_sz": [256, 512], "step": [128, 256], "thres_sz": 128, "resize_final_img": [1.0, 0.5],
                   "min_size": 512, "compression_level": 95, "format": "jpg"},
    "single": {"crop_sz": [64], "step": [32], "thres_sz": 16, "resize_final_img": [0.5],
               "min_size": 256, "compression_level": 90, "format": "jpg"},
    "pair": {"crop_sz": [480], "step": [240], "thres_sz": 48, "resize_final_img": [1.0],
             "min_size": 0, "compression_level": 95, "format": "png"},
    "square": {"crop_sz": [], "step": [], "thres_sz": 0, "resize_final_img": [],
               "min_size": 0, "compression_level": 95, "format": "png"},
}


@dataclass(kw_only=True)
class SubimageOptions(CommonOptions):
    """Flags of `extract_subimages`."""

    input_folder: List[str] = option([], "required: folder of photos, searched recursively (mode square: several)",
                                     nargs="+", type=str, kind="how")
    save_folder: str = option("out/extract_subimages", "folder of the data set", kind="how")
    options: str = option("", "YAML or JSON file of these options, as the original's dictionary; flags override it",
                          kind="how")
    mode: str = option("multiscale",
                       "multiscale: folders with tiles, reference and centres; single: flat tiles of one scale; "
                       "square: one image per photo; pair: single, for aligned high and low resolution", choices=MODES)
    crop_sz: List[int] = option([],
                                "window size in photo pixels, one per scale (256 512; single 64, pair 480)",
                                nargs="+")
    step: List[int] = option([],
                             "stride of the windows in pixels, one per scale (128 256; single 32, pair 240)",
                             nargs="+")
    thres_sz: Optional[int] = option(None,
                                     "add a window flush with the edge if more pixels than this remain (128; single "
                                     "16, pair 48)", low=0)
    resize_final_img: List[float] = option([], "resize factor of the tiles, one per scale; tiles of all scales should "
                                           "end up equal (1 .5; single .5)", nargs="+")
    only_resize: bool = option(False, "no windows: one tile per scale, the whole square resized")
    vertical_split: bool = option(False, "side-by-side stereo pairs: treat each half as an image of its own")
    compression_level: Optional[int] = option(None, "quality of jpg and webp, 0 to 100 (95; single 90); also --quality",
                                              metavar="QUALITY", low=0, high=100)
    subsampling: str = option("420", "chroma subsampling of jpg", choices=["420", "444"])
    format: Optional[str] = option(None, "file type of the tiles (jpg; square and pair png)",
                                   choices=["jpg", "png", "webp"])
    png_level: int = option(3, "compression level of png (lossless)", low=0, high=9)
    layout: str = option("folders",
                         "folders; packed: tar shards for webdataset readers; parquet; virtual: one square image "
                         "per photo, tiles are cut on reading", choices=LAYOUTS)
    shard_mb: int = option(256, "maximum shard size in MB (packed, parquet)", low=1)
    square: str = option("center",
                         "center: only the centred square; none: the full photo, with a letterboxed reference",
                         choices=["center", "none"])
    exif: bool = option(True, "rotate photos by their Exif orientation")
    min_size: Optional[int] = option(None, "skip photos whose smaller side is below this (512; single 256, others 0)",
                                     low=0)
    input_image_max_size_before_being_halved: int = option(5500,
                                                           "halve photos whose larger side exceeds this first",
                                                           low=1)
    exclusions: List[str] = option([],
                                   "per scale, comma-separated strings: skip the scale for photos whose path below "
                                   "the input folder contains one ('' for none)", nargs="+", type=str, empty=True)
    use_masking: bool = option(False, "keep only tiles whose mask region has a mean of at least 127.5")
    mask_path: str = option("", "folder of masks, named like the photos with .png appended", kind="how")
    dedup: bool = option(False, "skip byte-identical duplicates")
    naming: str = option("stable",
                         "stable: names from paths below the input folder, ids from 1 in each folder; original: "
                         "running numbers over the whole run", choices=["stable", "original"])
    compat: str = option("none", "original: reproduce the original's bugs, too (see the documentation)",
                         choices=["none", "original"])
    imgsize: List[int] = option([128, 128], "square mode: width and height", nargs=2, low=1)
    bottom_crop: float = option(0.0,
                                "square mode: rows cropped at the bottom, as a fraction of the height if below 1, else "
                                "in pixels", low=0)
    keep_folder: bool = option(False, "square mode: keep the first folder level below the input folder")
    pair_folder: str = option("", "pair mode: folder of the low-resolution photos", kind="how")
    pair_scale: int = option(4, "pair mode: downscaling factor of the low-resolution photos", low=1)
    preview: int = option(0, "draw the windows of this many photos in preview.png", kind="how", low=0)
    n_thread: Optional[int] = option(None, "worker processes, 0 for none (default: one per CPU core)", kind="how",
                                     low=0, high=256)
    dest: str = option("file", "accepted for old commands; only file (see --layout)", kind="how")


LISTS = [item.name for item in dataclasses.fields(SubimageOptions) if item.metadata.get("nargs") is not None]


def expand(words):
    """Return command-line words with options files prepended, lists split at commas, alternative spellings replaced.

    Raises InputError for an options file that cannot be read or has an unknown key.
    """
    words = list(_normalise(words))
    place = next((index for index, word in enumerate(words) if word.split("=")[0] == "--options"), None)
    if place is None:
        return words
    equals = words[place].partition("=")
    path = equals[2] if equals[1] else next(iter(words[place + 1 :]), "")
    return [*_words_of(read_options(path), path), *words]


def _normalise(words):
    current = ""
    for word in words:
        if word.startswith("--"):
            name, equals, value = word[2:].partition("=")
            current = name.replace("-", "_")
            current = SPELLINGS.get(current, current)
            if current in LISTS and equals:
                yield f"--{current}"
                yield from _split(current, value)
            else:
                yield f"--{current}{equals}{value}"
        else:
            yield from _split(current, word) if current in LISTS else [word]


def _split(name, value):
    """Return the words of one list value; folders and exclusions are kept whole."""
    if name in ("input_folder", "exclusions"):
        return [value]
    return [part for part in value.strip("[]() ").replace(",", " ").split() if part]


def read_options(path):
    """Return the dictionary of a YAML or JSON options file. Raises InputError naming the file."""
    import yaml

    from common.files import system_errors

    with system_errors(path or "--options"):
        text = Path(path).read_text(encoding="utf-8", errors="replace")
    try:
        content = json.loads(text) if path.endswith(".json") else yaml.safe_load(text)
    except (ValueError, yaml.YAMLError) as error:
        raise InputError(f"neither YAML nor JSON ({error})", where=path, do="Correct the file") from error
    if not isinstance(content, dict):
        raise InputError("not a dictionary of options", where=path, do="Write lines such as crop_sz: [256, 512]")
    return content


def _words_of(entries, path):
    """Return an options dictionary as command-line words."""
    known = {item.name: item for item in dataclasses.fields(SubimageOptions)}
    words = []
    for key, value in entries.items():
        name = SPELLINGS.get(str(key), str(key))
        if name in IGNORED or value is None:
            continue
        if name not in known or name == "options":
            raise InputError(f"unknown key '{key}'", where=path, do=nearest(name, [n for n in known if n != "options"]))
        words += _flag(name, value)
    return words


def _flag(name, value):
    if name == "exclusions":
        rows = value if isinstance(value, list) else [value]
        return [f"--{name}", *(json.dumps([row] if isinstance(row, str) else row) for row in rows)] if rows else []
    if isinstance(value, (list, tuple)):
        return [f"--{name}", *map(str, value)] if value else []
    if name in LISTS:
        return [f"--{name}", str(value)]
    return [f"--{name}={str(value).lower() if isinstance(value, bool) else value}"]


def excluded_strings(word):
    """Return the strings of one --exclusions word: a JSON list, or comma-separated."""
    if word.startswith("["):
        return [str(part) for part in json.loads(word)]
    return [part for part in word.split(",") if part]


def resolve(options):
    """Return the options with the mode's defaults, checked. Raises InputError naming the flag."""
    filled = {name: value for name, value in DEFAULTS[options.mode].items() if getattr(options, name) in (None, [])}
    if options.n_thread is None:
        filled["n_thread"] = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    options = dataclasses.replace(options, **copy.deepcopy(filled))
    check_bounds(options)  # also for calls from Python
    _check_folders(options)
    _check_modes(options)
    if options.mode in ("multiscale", "single", "pair"):
        _check_scales(options)
    return options


def _check_folders(options):
    if not options.input_folder:
        raise InputError("missing required flag", where="--input_folder", do="Pass the folder of your photos")
    if len(options.input_folder) > 1 and options.mode != "square":
        raise InputError("expects exactly one folder", where="--input_folder",
                         do="Only --mode square takes several")
    save = Path(options.save_folder).resolve()
    for name in [*options.input_folder, *([options.pair_folder] if options.mode == "pair" else [])]:
        if not Path(name).is_dir():
            what = "this is a file, not a folder" if Path(name).exists() else "no such folder"
            raise InputError(what, where=name or "--pair_folder", do="Pass a folder of photos")
        if Path(name).resolve() in (save, *save.parents):
            raise InputError("is inside the folder of photos, where its tiles would be read as photos",
                             where=f"--save_folder {options.save_folder}", do="Choose another folder")
    if options.use_masking and not Path(options.mask_path or "none").is_dir():
        raise InputError("no folder of masks", where=f"--mask_path {options.mask_path}",
                         do="Pass one, or omit --use_masking")


def _check_modes(options):
    if options.dest != "file":
        raise InputError(f"'{options.dest}' is not supported, nor did it run in the original", where="--dest",
                         do="Use --layout packed or --layout parquet for a few large files")
    if options.mode != "multiscale" and options.layout != "folders":
        raise InputError(f"only mode multiscale has the layout {options.layout}", where="--layout", do="Omit it")
    if options.preview and options.mode != "multiscale":
        raise InputError(f"mode {options.mode} has no preview", where="--preview", do="Omit it")
    if options.layout == "virtual" and options.only_resize:
        raise InputError("there are no windows to cut later", where="--only_resize", do="Use --layout folders")
    if options.layout == "parquet":
        try:
            import pyarrow  # noqa: F401
        except ImportError as error:
            raise InputError("needs the package pyarrow, which is not installed", where="--layout parquet",
                             do="Install it (pip install pyarrow), or use --layout packed") from error
    if options.only_resize and options.square == "none":
        raise InputError("resizes the centred square", where="--only_resize", do="Omit --square none")
    if options.naming == "original" and (options.layout in ("packed", "parquet") or options.mode == "pair"):
        raise InputError("shards and pairs have no running numbers", where="--naming original",
                         do="Use --naming stable")


def _check_scales(options):
    if options.mode != "multiscale" and len(options.crop_sz) != 1:
        raise InputError(f"mode {options.mode} has a single scale", where="--crop_sz",
                         do="Give one size, or use --mode multiscale")
    factors = options.resize_final_img
    if options.compat == "none" and not len(options.crop_sz) == len(options.step) == len(factors):
        what = f"{len(options.crop_sz)} crop sizes, {len(options.step)} steps, {len(factors)} factors"
        raise InputError(f"expected one of each per scale: {what}",
                         where="--crop_sz, --step, --resize_final_img", do="Give lists of the same length")
    if options.mode == "pair":
        _check_pair(options)
    for crop, step, factor in zip(options.crop_sz, options.step, factors):
        if crop < 1 or step < 1 or int(crop * factor) < 1:
            raise InputError(f"crop {crop}, step {step}, factor {factor:g} give empty tiles",
                             where="--crop_sz, --step, --resize_final_img",
                             do="Crop, step, and crop times factor must be at least 1")
    if len(options.exclusions) > len(options.crop_sz) and options.compat == "none":
        raise InputError(f"{len(options.exclusions)} lists for {len(options.crop_sz)} scales", where="--exclusions",
                         do="Give one per scale")


def _check_pair(options):
    scale = options.pair_scale
    for name in ("crop_sz", "step"):
        if getattr(options, name)[0] % scale:
            raise InputError(f"{getattr(options, name)[0]} is not a multiple of --pair_scale {scale}, so no window "
                             f"fits the low resolution", where=f"--{name}", do="Use a multiple")
    if options.resize_final_img != [1.0] or options.only_resize or options.vertical_split:
        raise InputError("pairs are cut at full size", where="--resize_final_img, --only_resize, --vertical_split",
                         do="Omit them")
