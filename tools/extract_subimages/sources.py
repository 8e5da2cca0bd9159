"""The photos, their order, and the names of their folders or files."""

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path

from common.images.suffixes import is_image

ORIGINAL_SUFFIXES = (".jpg", ".JPG", ".jpeg", ".JPEG", ".png", ".PNG", ".ppm", ".PPM", ".bmp", ".BMP", ".webp", ".WEBP")
OTHER_IMAGES = (".gif", ".heic", ".heif", ".jxl", ".jp2", ".psd", ".svg", ".raw", ".dng", ".cr2", ".cr3", ".nef",
                ".arw", ".exr")
LONGEST = 180  # bytes of a folder name; file systems take 255


@dataclass(frozen=True)
class Photo:
    """One photo: the input folder, its POSIX path below it, its size in bytes, and its modification time."""

    folder: str
    path: str
    bytes: int
    mtime_ns: int

    @property
    def name(self):
        """Its file name with suffix."""
        return self.path.rsplit("/", 1)[-1]

    @property
    def full(self):
        """The path to open."""
        return os.path.join(self.folder, self.path)


@dataclass(frozen=True)
class PhotoUnit:
    """The work on one photo: its index, its name, and its numbers under original naming."""

    index: int
    source: Photo
    stem: str  # name of its folders without "_left"; its files in the flat modes begin with it
    number: int = 0  # running number of its first folder
    first_id: int = 0  # id of its first reference
    counts: tuple = ()  # original naming: tiles of each of its folders, from the header
    partner: object = None  # pair mode: the low-resolution Photo


def find_sources(folders, original=False):
    """Return ([Photo] in order, [(path, reason)] of rejected images, number of files that are not images).

    Folders in the order of their paths, names sorted in each, as in the original. Hidden files are ignored.
    """
    photos, rejected, others = [], [], 0
    for folder in folders:
        inner, seen = [], set()
        for root, below, files in os.walk(folder, followlinks=True):
            real = os.path.realpath(root)
            if real in seen:  # a circular link
                below.clear()
                continue
            seen.add(real)
            below[:] = sorted(name for name in below if original or not name.startswith("."))
            inner.append((os.path.relpath(root, folder).replace(os.sep, "/"), sorted(files)))
        for place, names in sorted(inner, key=lambda item: "" if item[0] == "." else f"/{item[0]}"):
            for name in names:
                path = name if place == "." else f"{place}/{name}"
                reason = _reason(name, original)
                if reason is None:
                    try:
                        status = os.stat(os.path.join(folder, path))
                        photos.append(Photo(str(folder), path, status.st_size, status.st_mtime_ns))
                    except OSError:  # a dangling link
                        rejected.append((path, "unreadable"))
                elif reason:
                    rejected.append((path, reason))
                else:
                    others += 1
    return photos, rejected, others


def _reason(name, original):
    """Return None for a photo, a reason for a rejected image, "" for anything else."""
    if original:
        if "ref.jpg" in name:
            return "named as a reference"
        return None if name.endswith(ORIGINAL_SUFFIXES) else ""
    if name.startswith("."):
        return ""
    lower = name.lower()
    if lower.endswith(OTHER_IMAGES):
        return "file type not read"
    if not is_image(lower):
        return ""
    return "named as a reference" if "ref.jpg" in name else None


def drop_duplicates(sources):
    """Return ([Photo] without byte-identical duplicates, [(path of a duplicate, path of the first one)])."""
    from common.files import file_hash

    sizes = {}
    for source in sources:
        sizes.setdefault(source.bytes, []).append(source)
    first, unique, duplicates = {}, [], []
    for source in sources:
        digest = file_hash(source.full) if len(sizes[source.bytes]) > 1 else None
        if digest is not None and digest in first:
            duplicates.append((source.path, first[digest]))
            continue
        first[digest] = source.path
        unique.append(source)
    return unique, duplicates


def stable_stem(path):
    """Return the stem of a photo's outputs, from its path below the input folder alone.

    `a.jpg` -> `a`, `a.png` -> `a.png`, `sub/a.jpg` -> `sub__a`. Where another path could give the same name, or the
    name would be too long, eight digits of the path's hash follow after `~`: no name depends on other photos.
    """
    stem = path.removesuffix(".jpg")
    plain = stem.replace("/", "__")
    ambiguous = "__" in stem or "~" in stem or (stem != path and is_image(stem)) or stem.startswith(".")
    if ambiguous or len(plain.encode(errors="surrogateescape")) > LONGEST or plain.endswith("_"):
        digest = hashlib.sha256(path.encode(errors="surrogateescape")).hexdigest()[:8]
        raw = plain.lstrip(".").encode(errors="surrogateescape")[: LONGEST - 9].decode(errors="ignore")
        return f"{raw}~{digest}"
    return plain


def original_folder(name, side, number):
    """Return the original's folder name: `a.jpg` -> `a_left_0`; every `.jpg`, then every `.png`, is removed from it."""
    return f"{name}_{side}_{number}".replace(".jpg", "").replace(".png", "")


def listing(sources):
    """Return {"photos", "sha256"} of paths, sizes and modification times, to detect changed photos."""
    digest = hashlib.sha256()
    for source in sources:
        digest.update(f"{source.path}\t{source.bytes}\t{source.mtime_ns}\n".encode(errors="surrogateescape"))
    return {"photos": len(sources), "sha256": digest.hexdigest()}


def pair_partners(sources, folder, scale):
    """Return {path of a high-resolution photo: Photo of its low-resolution partner or None}.

    A partner has the same path below its folder, whatever its suffix, and may have `x4` (the scale) after the stem.
    """
    partners, _, _ = find_sources([folder])
    known = {str(Path(partner.path).with_suffix("")): partner for partner in partners}
    stems = {source.path: str(Path(source.path).with_suffix("")) for source in sources}
    return {path: known.get(stem) or known.get(f"{stem}x{scale}") for path, stem in stems.items()}
