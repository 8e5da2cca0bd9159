"""What must hold between the flags of `extract_subimages`: each acts, or is refused where it cannot."""

import json
from math import isfinite
from pathlib import Path

from common.effects import check_effects, note_idle, without_effect
from common.errors import InputError
from common.formats.lmdb_files import import_lmdb

LARGEST_SIDE = 65_500  # of a JPEG


def check(options):
    """Raise InputError, naming the flag, for options (all filled in) that do not go together."""
    _check_folders(options)
    _check_modes(options)
    if options.mode in ("multiscale", "single", "pair"):
        _check_scales(options)


def _check_folders(options):
    if not options.input_folder:
        raise InputError("missing required flag", where="--input_folder", do="Name the folder of your photos")
    if len(options.input_folder) > 1 and options.mode != "square":
        raise InputError("expects exactly one folder", where="--input_folder",
                         do="Only --mode square takes several")
    if options.mode == "pair" and not options.pair_folder and not options.make_lr:
        raise InputError("missing required flag", where="--pair_folder",
                         do="Name the folder of the low-resolution photos, or have them made (--make_lr 4)")
    save = Path(options.save_folder).resolve()
    for name in [*options.input_folder, *pair_folders(options)]:
        if not name or not Path(name).is_dir():  # "" would be the current folder
            what = "this is a file, not a folder" if name and Path(name).exists() else "no such folder"
            raise InputError(what, where=name or "--input_folder", do="Name a folder of photos")
        if Path(name).resolve() in (save, *save.parents):
            raise InputError("is inside the folder of photos, where its tiles would be read as photos",
                             where=f"--save_folder {options.save_folder}", do="Choose another folder")
        _refuse_inside(name, save)
    if options.use_masking and not Path(options.mask_path or "none").is_dir():
        raise InputError("no folder of masks", where=f"--mask_path {options.mask_path}".strip(),
                         do="Name one, or leave --use_masking out")
    if options.use_masking:
        _refuse_inside(options.mask_path, save)


def _refuse_inside(name, save):
    """Raise InputError where an input lies in the folder of the outputs."""
    if save in (Path(name).resolve(), *Path(name).resolve().parents):
        raise InputError("this input lies among the outputs", where=name, do="Choose another --save_folder")


def _check_modes(options):
    if options.dest != "file":
        raise InputError(f"'{options.dest}' could not run in the original either", where="--dest",
                         do="Use --layout packed or --layout parquet for few large files")
    if options.mode != "multiscale" and options.layout != "folders":
        raise InputError(f"only mode multiscale has the layout {options.layout}", where="--layout", do="Leave it out")
    if options.preview and options.mode != "multiscale":
        raise InputError(f"mode {options.mode} has no preview", where="--preview", do="Leave it out")
    if options.layout == "virtual" and options.only_resize:
        raise InputError("there are no windows to cut later", where="--only_resize", do="Use --layout folders")
    if options.layout == "parquet":
        try:
            import pyarrow  # noqa: F401
        except ImportError as error:
            raise InputError("needs the package pyarrow, which is not installed", where="--layout parquet",
                             do="Install it (pip install pyarrow), or use --layout packed") from error
    if options.only_resize and options.square == "none":
        raise InputError("resizes the centred square", where="--only_resize", do="Leave --square none out")
    if options.naming == "original" and (options.layout in ("packed", "parquet") or options.mode == "pair"):
        raise InputError("shards and pairs have no running numbers", where="--naming original",
                         do="Use --naming stable")
    _check_published(options)


def _check_published(options):
    """Raise InputError where the names, lists and LMDB of BasicSR cannot be."""
    if options.naming == "basicsr" and options.mode not in ("single", "pair"):
        raise InputError(f"mode {options.mode} has no such names", where="--naming basicsr",
                         do="Use --mode single or --mode pair")
    if options.naming == "basicsr" and options.vertical_split:
        raise InputError("the halves of a photo would have the same names", where="--naming basicsr",
                         do="Use --naming stable")
    if options.meta_info and options.mode == "multiscale":
        raise InputError("only the modes single, pair and square have it", where="--meta_info", do="Leave it out")
    if options.lmdb and options.naming != "basicsr":
        raise InputError("its keys are names up to the first dot, and stable names hold others", where="--lmdb",
                         do="Add --naming basicsr (modes single and pair)")
    if options.lmdb:
        import_lmdb("--lmdb")
    if options.shuffle and options.layout not in ("packed", "parquet"):
        raise InputError(f"layout {options.layout} has no shards", where="--shuffle", do="Leave it out")


def excluded_strings(word):
    """Return the strings of one --exclusions word: a JSON list, or comma-separated."""
    if word.startswith("["):
        return [str(part) for part in json.loads(word)]
    return [part for part in word.split(",") if part]


def pair_folders(options):
    """Return [--pair_folder] where there is one."""
    return [options.pair_folder] if options.pair_folder else []


PAIRED = ("pair_folder", "pair_scale", "make_lr", "mod_crop")
# Options that act in some modes alone. Those of an options file may be of another mode's dictionary.
IN_MODES = {"square": ("multiscale",), "input_image_max_size_before_being_halved": ("multiscale",),
            "exclusions": ("multiscale",), "use_masking": ("multiscale",), "imgsize": ("square",),
            "bottom_crop": ("square",), "keep_folder": ("square",), "only_resize": ("multiscale", "single"),
            "vertical_split": ("multiscale", "single"), **dict.fromkeys(PAIRED, ("pair",))}
NOTED = ("crop_sz", "step", "thres_sz", "resize_final_img")  # which the original's dictionaries always have


def check_given(options, kept=()):
    """Raise InputError for flags that were given and have no effect beside others, before defaults are filled in.

    kept: names that an options file has, where they may stand without effect.
    """
    acts = {name: (options.mode in modes, f"--mode {' or '.join(modes)}") for name, modes in IN_MODES.items()}
    check_effects(options, {name: acts[name] for name in acts if name in PAIRED or name not in kept})
    tiles = (options.mode != "square", "tiles, which mode square does not cut")
    noted = {"mask_path": (options.use_masking, "--use_masking")} | dict.fromkeys(NOTED, tiles)
    note_idle(without_effect(options, {name: noted[name] for name in noted if name not in kept}))
    if options.make_lr:
        for name in ("pair_folder", "pair_scale", "mod_crop"):
            if getattr(options, name):
                why = "photos are cut to a multiple of all scales anyway" if name == "mod_crop" \
                    else "--make_lr makes the low resolution"
                raise InputError(f"has no effect: {why}", where=f"--{name}", do="Leave one of them out")
    check_effects(options, {"seed": (options.shuffle, "--shuffle")})


def _check_scales(options):
    if options.mode != "multiscale" and len(options.crop_sz) != 1:
        raise InputError(f"mode {options.mode} has a single scale", where="--crop_sz",
                         do="Give one size, or use --mode multiscale")
    factors = options.resize_final_img
    if options.compat == "none" and not len(options.crop_sz) == len(options.step) == len(factors):
        what = f"{len(options.crop_sz)} crop sizes, {len(options.step)} steps, {len(factors)} factors"
        raise InputError(f"one of each for every scale is needed: {what}",
                         where="--crop_sz, --step, --resize_final_img",
                         do="Give lists of the same length")
    if options.mode == "pair":
        _check_pair(options)
    for crop, step, factor in zip(options.crop_sz, options.step, factors):
        if not isfinite(factor) or crop * factor > LARGEST_SIDE:
            raise InputError(f"crop {crop}, factor {factor:g}: tiles have at most {LARGEST_SIDE:,} pixels a side",
                             where="--resize_final_img", do="Correct the value")
        if crop < 1 or step < 1 or int(crop * factor) < 1:
            raise InputError(f"crop {crop}, step {step}, factor {factor:g} give empty tiles",
                             where="--crop_sz, --step, --resize_final_img",
                             do="Crop and step are at least 1, and so is crop times factor")
    if len(options.exclusions) > len(options.crop_sz) and options.compat == "none":
        raise InputError(f"{len(options.exclusions)} lists for {len(options.crop_sz)} scales", where="--exclusions",
                         do="Give one for each scale")
    for word in options.exclusions:
        try:
            excluded_strings(word)
        except ValueError as error:
            raise InputError(f"no JSON list: {word}", where="--exclusions",
                             do='Write a,b or ["a", "b"]') from error


def _check_pair(options):
    if len(set(options.make_lr)) < len(options.make_lr):
        raise InputError("a scale is given twice", where="--make_lr", do="Give each once")
    for scale in options.make_lr or [options.pair_scale]:
        flag = "--make_lr" if options.make_lr else "--pair_scale"
        for name in ("crop_sz", "step"):
            if getattr(options, name)[0] % scale:
                raise InputError(f"{getattr(options, name)[0]} is not a multiple of {flag} {scale}, so the low "
                                 f"resolution has no such window",
                                 where=f"--{name}", do="Give a multiple")
    if options.resize_final_img != [1.0] or options.only_resize or options.vertical_split:
        raise InputError("pairs are cut as they are", where="--resize_final_img, --only_resize, --vertical_split",
                         do="Leave them out")
