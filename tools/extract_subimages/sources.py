"""Which photos there are, in which order, and what the folder or file of each is called."""

import hashlib
import os
import re
import stat
from dataclasses import dataclass
from pathlib import Path

from common.errors import InputError
from common.files import open_regular
from common.images.suffixes import is_image

ORIGINAL_SUFFIXES = (".jpg", ".JPG", ".jpeg", ".JPEG", ".png", ".PNG", ".ppm", ".PPM", ".bmp", ".BMP", ".webp", ".WEBP")
OTHER_IMAGES = (".gif", ".heic", ".heif", ".jxl", ".jp2", ".j2k", ".jpx", ".jxr", ".wdp", ".psd", ".svg", ".raw",
                ".dng", ".cr2", ".cr3", ".nef", ".arw", ".orf", ".raf", ".rw2", ".pef", ".srw", ".exr", ".hdr", ".pfm",
                ".pbm", ".pnm", ".tga", ".pcx", ".sgi", ".ico", ".icns", ".dds", ".qoi", ".xcf", ".xbm", ".xpm", ".bpg",
                ".mng", ".jng", ".eps")
MAGIC = (b"\xff\xd8\xff", b"\x89PNG\r\n", b"GIF8", b"II*\0", b"MM\0*", b"II+\0", b"MM\0+", b"8BPS", b"qoif",
         b"\0\0\0\x0cjP  ", b"\0\0\0\x0cJXL ", b"\xff\x0a", b"\xff\x4f\xff\x51", b"v/1\x01", b"#?RADIANCE", b"DDS ",
         b"P7\n", b"Pf\n", b"PF\n", b"farbfeld", b"gimp xcf", b"icns", b"BPG\xfb", b"\x8bJNG", b"\x8aMNG",
         b"II\xbc\x01")
PNM = re.compile(rb"P[1-6](#|[ \t\r\n]+[\d#])")
LONGEST = 180  # characters of a folder's name; file systems take 255 bytes


@dataclass(frozen=True)
class Photo:
    """One photo: the folder it was found in, its POSIX path below, and its size in bytes."""

    folder: str
    path: str
    bytes: int
    mtime_ns: int
    inode: tuple = ()  # (time of its last change in ns, its number): what a file of the same size and time differs in

    @property
    def name(self):
        """Its file name with the ending."""
        return self.path.rsplit("/", 1)[-1]

    @property
    def full(self):
        """The path to open."""
        return os.path.join(self.folder, self.path)


@dataclass(frozen=True)
class PhotoUnit:
    """One photo's work: where it stands in the order, its name, and its numbers under original naming."""

    index: int
    source: Photo
    stem: str  # name of its folders without "_left"; its files in the flat modes begin with it
    number: int = 0  # running number of its first folder
    first_id: int = 0  # id of its first reference
    counts: tuple = ()  # original naming: tiles of each of its folders, as the header promises
    partner: object = None  # pair mode: the Photo of the low resolution


def find_sources(folders, original=False):
    """Return ([Photo] in order, [(path, reason)] passed over, number of files that are not images).

    Folders in the order of their paths, names sorted inside each, as the original does. Hidden files are not photos.
    """
    found, passed, others = [], [], 0
    for folder in folders:
        inner, seen = [], set()

        def unreadable(error, folder=folder):
            passed.append((os.path.relpath(error.filename, folder).replace(os.sep, "/"), "unreadable folder"))

        for root, below, files in os.walk(folder, followlinks=True, onerror=unreadable):
            real = os.path.realpath(root)
            if real in seen:  # a link that leads back
                below.clear()
                continue
            seen.add(real)
            below[:] = sorted(name for name in below if original or not name.startswith("."))
            inner.append((os.path.relpath(root, folder).replace(os.sep, "/"), sorted(files)))
        for place, names in sorted(inner, key=lambda item: "" if item[0] == "." else f"/{item[0]}"):
            for name in names:
                path = name if place == "." else f"{place}/{name}"
                reason = _reason(name, original)
                if reason == "" and not original and not name.startswith(".") and _begins_as_image(folder, path):
                    reason = "file type not read"
                if reason is None:
                    try:
                        status = os.stat(os.path.join(folder, path))
                        if not stat.S_ISREG(status.st_mode):  # a FIFO would be waited for
                            passed.append((path, "no regular file"))
                            continue
                        found.append(Photo(str(folder), path, status.st_size, status.st_mtime_ns,
                                           (status.st_ctime_ns, status.st_ino)))
                    except OSError:  # a link that leads nowhere
                        passed.append((path, "unreadable"))
                elif reason:
                    passed.append((path, reason))
                else:
                    others += 1
    return found, passed, others


def _reason(name, original):
    """Return None for a photo, a reason for an image that is passed over, "" for anything else."""
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


def _begins_as_image(folder, path):
    """Return whether a regular file of another name begins as image files do."""
    place = os.path.join(folder, path)
    try:
        if not stat.S_ISREG(os.stat(place).st_mode):
            return False
        with open(place, "rb") as stream:
            head = stream.read(16)
    except OSError:
        return False
    return (head.startswith(MAGIC) or PNM.match(head) is not None
            or (head[4:8] == b"ftyp" and head[8:11] in (b"avi", b"hei", b"mif", b"msf"))
            or (head[:4] == b"RIFF" and head[8:12] == b"WEBP") or (head[:2] == b"BM" and head[6:10] == bytes(4)))


def drop_duplicates(sources):
    """Return ([Photo] without those whose bytes equal an earlier one's, [(path, path of the earlier one)])."""
    sizes = {}
    for source in sources:
        sizes.setdefault(source.bytes, []).append(source)
    first, kept, doubles = {}, [], []
    for source in sources:
        digest = digest_of(source.full) if len(sizes[source.bytes]) > 1 else None
        if digest is not None and digest in first:
            doubles.append((source.path, first[digest]))
            continue
        first[digest] = source.path
        kept.append(source)
    return kept, doubles


def stable_stem(path):
    """Return the name that a photo's outputs begin with, from its path below the input folder alone.

    `a.jpg` -> `a`, `a.png` -> `a.png`, `sub/a.jpg` -> `sub__a`. Where another path could give the same name, and where
    it would be too long, eight digits of the path's hash follow after `~`, so that no name depends on what else there
    is.
    """
    stem = path.removesuffix(".jpg")
    plain = stem.replace("/", "__")
    ambiguous = "__" in stem or "~" in stem or (stem != path
                                                and is_image(stem)) or stem.startswith(".")
    if ambiguous or len(plain.encode(errors="surrogateescape")) > LONGEST or plain.endswith("_"):
        digest = hashlib.sha256(path.encode(errors="surrogateescape")).hexdigest()[:8]
        raw = plain.lstrip(".").encode(errors="surrogateescape")[: LONGEST - 9].decode(errors="ignore")
        return f"{raw}~{digest}"
    return plain


def original_folder(name, side, number):
    """Return the original's folder name: `a.jpg` -> `a_left_0`; every `.jpg`, then every `.png`, is removed from it."""
    return f"{name}_{side}_{number}".replace(".jpg", "").replace(".png", "")


def listing(sources, others=()):
    """Return {"photos", "sha256"} of places, sizes, times and inodes, which tells whether a file may have changed.

    others: paths of more files that tiles depend on, or None.
    """
    digest = hashlib.sha256()
    for source in sources:
        place = os.path.join(os.path.realpath(source.folder), source.path)
        digest.update(f"{place}\t{source.bytes}\t{source.mtime_ns}\t{source.inode}\n".encode(errors="surrogateescape"))
    for path in others:
        digest.update(f"{path}\t{_state(path)}\n".encode(errors="surrogateescape"))
    return {"photos": len(sources), "sha256": digest.hexdigest()}


def _state(path):
    try:
        status = os.stat(path)
    except OSError:
        return None
    return status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino


def digest_of(path):
    """Return the hex SHA-256 of a file's bytes, or None when it cannot be read."""
    try:
        with open_regular(path) as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest()
    except OSError:
        return None


def shuffled(sources, seed):
    """Return the photos in a random order, the same for a seed and a number of photos."""
    import numpy as np

    return [sources[place] for place in np.random.default_rng(seed).permutation(len(sources))]


def names_of(sources):
    """Return how many photos there are, and some digits that stand for their names."""
    names = "\n".join(source.path for source in sources).encode(errors="surrogateescape")
    return f"{len(sources)} ({hashlib.sha256(names).hexdigest()[:8]})"


def pair_partners(sources, folder, scale):
    """Return {path of a high-resolution photo: Photo of its low-resolution partner or None}.

    A partner has the same path below its folder, whatever its ending, and may have `x4` (the scale) behind the stem.
    Raises InputError where there are several, and for a folder that cannot be read.
    """
    partners, passed, _ = find_sources([folder])
    unreadable = [path for path, reason in passed if reason == "unreadable folder"]
    if unreadable:  # its photos would be taken for missing
        raise InputError("this folder cannot be read", where=os.path.join(folder, unreadable[0]),
                         do="Check the permissions")
    known = {}
    for partner in partners:
        known.setdefault(str(Path(partner.path).with_suffix("")), []).append(partner)
    stems = {source.path: str(Path(source.path).with_suffix("")) for source in sources}
    return {path: _only_partner(path, known.get(stem) or known.get(f"{stem}x{scale}") or [])
            for path, stem in stems.items()}


def _only_partner(path, found):
    """Return the one of the Photos `found` that has the same path, or that is alone; None where there is none.

    Raises InputError where any of several could be the partner.
    """
    same = [partner for partner in found if partner.path == path] or found
    if len(same) > 1:
        raise InputError(f"{same[0].path} and {same[1].path} in {same[0].folder} could both be its partner", where=path,
                         do="Rename or remove one of them")
    return same[0] if same else None
