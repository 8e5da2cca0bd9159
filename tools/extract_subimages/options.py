"""The flags of `extract_subimages`, options files of the original's kind, and what must hold between them."""

import copy
import dataclasses
import json
import os
from dataclasses import dataclass
from typing import List, Optional

from common.errors import InputError, nearest
from common.formats.settings import read_settings
from common.options import CommonOptions, check_bounds, option
from tools.extract_subimages.checks import check, check_given

MODES = ["multiscale", "single", "square", "pair"]
LAYOUTS = ["folders", "packed", "parquet", "virtual"]
SPELLINGS = {"quality": "compression_level", "image_minimum_size_threshold": "min_size", "split_img": "vertical_split",
             "output_dir": "save_folder"}
IGNORED = {"cv2_write_options"}  # of the square extractor; compression_level and png_level say it here
# What an option is when nothing is said, in each mode (the documentation's values for multiscale).
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

    input_folder: List[str] = option([], "required: folder of photos, searched at any depth (square takes several)",
                                     nargs="+", type=str, kind="how")
    save_folder: str = option("out/extract_subimages", "folder of the data set", kind="how")
    options: str = option("", "YAML or JSON file of these options, as the original's dictionary; flags go before it",
                          kind="how")
    mode: str = option("multiscale",
                       "multiscale: folders with tiles, reference and centres; single: flat tiles of one scale; "
                       "square: one image each; pair: single for high and low resolution together", choices=MODES)
    crop_sz: List[int] = option([],
                                "side of the windows in pixels of the photo, one for each scale (256 512; single 64, "
                                "pair 480)",
                                nargs="+")
    step: List[int] = option([],
                             "pixels from one window to the next, one for each scale (128 256; single 32, pair 240)",
                             nargs="+")
    thres_sz: Optional[int] = option(None,
                                     "a window flush with the edge is added when more pixels than this are left over "
                                     "(128; single 16, pair 48)", low=0)
    resize_final_img: List[float] = option([], "factor for the tiles of each scale; all scales should come out equal "
                                           "(1 .5; single .5)", nargs="+")
    only_resize: bool = option(False, "no windows: one tile for each scale, the whole square resized")
    vertical_split: bool = option(False, "stereoscopic pairs side by side: each half is an image of its own")
    compression_level: Optional[int] = option(None, "quality of jpg and webp, 0 to 100 (95; single 90); also --quality",
                                              metavar="QUALITY", low=0, high=100)
    subsampling: str = option("420", "chroma of jpg: 420 halves it both ways, 444 keeps it", choices=["420", "444"])
    format: Optional[str] = option(None, "file type of the tiles (jpg; square and pair png)",
                                   choices=["jpg", "png", "webp"])
    png_level: int = option(3, "compression of png; only speed and size depend on it", low=0, high=9)
    layout: str = option("folders",
                         "folders; packed: tar shards for webdataset readers; parquet; virtual: one square image "
                         "for each photo, tiles are cut when read", choices=LAYOUTS)
    shard_mb: int = option(256, "megabytes after which a shard is full (packed, parquet)", low=1)
    square: str = option("center",
                         "center: only the centred square is used; none: the full photo, the reference letter-boxed",
                         choices=["center", "none"])
    exif: bool = option(True, "turn photos upright as their Exif orientation says")
    icc: str = option("srgb", "srgb: colours of other profiles (Display P3, Adobe RGB, ...) become sRGB's; keep: the "
                      "stored numbers are taken as they are", choices=["srgb", "keep"])
    min_size: Optional[int] = option(None, "photos whose smaller side is below are skipped (512; single 256, others 0)",
                                     low=0)
    input_image_max_size_before_being_halved: int = option(5500,
                                                           "photos whose larger side exceeds this are halved first",
                                                           low=1)
    exclusions: List[str] = option([],
                                   "for each scale, comma-separated strings: where one occurs in a photo's path below "
                                   "the input folder, the scale is left out ('' for none)", nargs="+", type=str,
                                   empty=True)
    use_masking: bool = option(False, "keep only tiles that the mask of their photo shows (mean of at least 127.5)")
    mask_path: str = option("", "folder of masks, named as the photo with .png added", kind="how")
    dedup: bool = option(False, "skip photos whose file equals an earlier one's")
    naming: str = option("stable",
                         "stable: names from the path below the input folder, ids from 1 in each folder; original: "
                         "running numbers over the whole run; basicsr (single, pair): 0001_s001.png from 0001.png, as "
                         "in the published meta_info files", choices=["stable", "original", "basicsr"])
    compat: str = option("none", "original: also repeat the original's mistakes (see the page)",
                         choices=["none", "original"])
    imgsize: List[int] = option([128, 128], "square mode: width and height", nargs=2, low=1, high=65_535)
    bottom_crop: float = option(0.0,
                                "square mode: rows cut off below; a fraction of the height under 1, pixels from 1 on",
                                low=0)
    keep_folder: bool = option(False, "square mode: keep the folder directly below the input folder")
    pair_folder: str = option("", "required in pair mode, unless --make_lr: folder of the low-resolution photos",
                              kind="how")
    pair_scale: Optional[int] = option(None, "pair mode: how many times smaller the low-resolution photos are (4)",
                                       low=1)
    make_lr: List[int] = option([], "pair mode: make the low resolution, once for each of these scales, by Matlab's "
                                    "bicubic resizing with antialiasing", nargs="+", low=2)
    mod_crop: bool = option(False, "pair mode: cut pairs whose sizes are not exact multiples at the bottom and right, "
                                   "where else they are skipped")
    meta_info: bool = option(False, "single, pair, square: also write meta_info.txt, a line '0001_s001.png (480,480,3)'"
                                    " for each (high-resolution) tile", kind="how")
    lmdb: bool = option(False, "single, pair: also write the tiles as BasicSR's LMDB (needs --naming basicsr)",
                        kind="how")
    shuffle: bool = option(False, "packed, parquet: photos go into the shards in a random order, by --seed")
    seed: int = option(0, "of --shuffle", low=0)
    preview: int = option(0, "show where the tiles of this many photos lie, in preview.png", kind="how", low=0)
    n_thread: Optional[int] = option(None, "worker processes, 0 for none (default: one per processor)", kind="how",
                                     low=0, high=256)
    dest: str = option("file", "the original's switch; only file (see --layout)", kind="how")


LISTS = [item.name for item in dataclasses.fields(SubimageOptions) if item.metadata.get("nargs") is not None]


def expand(words):
    """Return command-line words with options files put before them, lists split at commas, other spellings mended.

    Raises InputError for an options file that cannot be read or has an unknown key.
    """
    words = list(_mend(words))
    place = next((index for index, word in enumerate(words) if word.split("=")[0] == "--options"), None)
    if place is None:
        return words
    equals = words[place].partition("=")
    path = equals[2] if equals[1] else next(iter(words[place + 1 :]), "")
    return [*_words_of(read_options(path), path), *words]


def _mend(words):
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
    """Return the words of one list value; folders and exclusions are taken as they stand."""
    if name in ("input_folder", "exclusions"):
        return [value]
    return [part for part in value.strip("[]() ").replace(",", " ").split() if part]


def read_options(path):
    """Return the dictionary of a YAML or JSON options file. Raises InputError naming the file."""
    found = read_settings(path or "--options")
    if not isinstance(found, dict):
        raise InputError("no dictionary of options", where=path, do="Write lines such as crop_sz: [256, 512]")
    return found


def _words_of(given, path):
    """Return the flags that stand for an options dictionary."""
    known = {item.name: item for item in dataclasses.fields(SubimageOptions)}
    words, keys = [], {}
    for key, value in given.items():
        name = SPELLINGS.get(str(key), str(key))
        if name in IGNORED or value is None:
            continue
        if keys.setdefault(name, key) != key:
            raise InputError(f"'{keys[name]}' and '{key}' are the same option", where=path, do="Give one of them")
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


def _names_in(path):
    """Return the names of the options in an options file, of none where there is no path."""
    return [SPELLINGS.get(str(key), str(key)) for key in (read_options(path) if path else ())]


def resolve(options):
    """Return the options with what depends on the mode filled in, all checked. Raises InputError naming the flag."""
    check_given(options, kept=_names_in(options.options))
    filled = {name: value for name, value in DEFAULTS[options.mode].items() if getattr(options, name) in (None, [])}
    if options.pair_scale is None:
        filled["pair_scale"] = 4
    if options.n_thread is None:
        filled["n_thread"] = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    options = dataclasses.replace(options, **copy.deepcopy(filled))
    check_bounds(options)  # of options files and of calls from Python, too
    check(options)
    return options
