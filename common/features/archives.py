"""Images in tar and parquet files and in lists of files, as stores by position (see common.features.sources)."""

import os
import tarfile
import threading

from common.datasets.dlas.chunked.index import REFERENCES
from common.datasets.dlas.chunked.packed import (
    TarShard,
    check_parquet_claims,
    parquet_errors,
    read_rows,
    stored_bytes,
)
from common.errors import InputError
from common.files import read_regular, system_errors
from common.formats.tars import tar_members
from common.images.suffixes import images_among

TARS, PARQUETS, LISTS = (".tar",), (".parquet",), (".txt", ".lst")
COLUMNS = ("image", "img", "jpg", "jpeg", "png", "webp", "bytes")  # of parquet files, the first one that is there
AGAIN = "Make or copy the file again"


class TarStore:
    """Images in tar files (of webdataset, extract_subimages, ImageNet), one file after the other."""

    def __init__(self, members):
        """members: (path of the tar, name, offset, bytes) of each image."""
        self.members = members
        self.files = list(dict.fromkeys(path for path, *_ in members))

    @classmethod
    def open(cls, paths, endings):
        """Return the store of the images in tar files. Raises InputError for one that is damaged or compressed."""
        found = []
        for path in paths:
            members = {member.name: member for member in _members(path)}
            names = [name for name in members if not name.startswith(REFERENCES) and not _is_hidden(name)]
            found += [(path, name, members[name].offset_data, members[name].size)
                      for name in images_among(names, path, endings)]
        return cls(found)

    def __len__(self):
        return len(self.members)

    def only(self, positions):
        """Return the store of these positions."""
        return TarStore([self.members[position] for position in positions])

    def title(self, position):
        """Return an image's name in messages."""
        path, name, *_ = self.members[position]
        return f"{path}: {name}"

    def name(self, position):
        """Return an image's name in its tar file."""
        return self.members[position][1]

    def read(self, position):
        """Return an image's bytes."""
        path, _, offset, size = self.members[position]
        return TarShard(path).read((offset, size))


def _members(path):
    try:
        with system_errors(path), tarfile.open(path, "r:") as archive:
            return list(tar_members(archive, os.path.getsize(path)))
    except (tarfile.TarError, EOFError, ValueError, OverflowError) as error:
        with open(path, "rb") as stream:
            packed = stream.read(6)[:2] in (b"\x1f\x8b", b"BZ", b"\xfd7")
        do = "Unpack it (gunzip, bunzip2, unxz) into a .tar or a folder" if packed else AGAIN
        raise InputError("a compressed tar file" if packed else f"not a complete tar file ({error})", where=path,
                         do=do) from error


def _is_hidden(name):
    return any(part.startswith(".") and part != "." for part in name.split("/"))


class ParquetStore:
    """Images in parquet files: a column of encoded images, or of {bytes, path} as Hugging Face's data sets have it."""

    def __init__(self, places):
        """places: (path, column, row group, row in it) of each image."""
        self.places = places
        self.files = list(dict.fromkeys(path for path, *_ in places))
        self._group, self._lock = (None, None), threading.Lock()

    @classmethod
    def open(cls, paths):
        """Return the store of the images in parquet files. Raises InputError for one without images."""
        places = []
        for path in paths:
            with parquet_errors(path) as parquet:
                file = parquet.ParquetFile(path)
                check_parquet_claims(file.metadata, path)
                column = _image_column(file.schema_arrow)
                rows = [file.metadata.row_group(group).num_rows for group in range(file.num_row_groups)]
            if column is None:
                raise InputError(f"no column of images ({', '.join(COLUMNS)})", where=path, do="Pass another file")
            places += [(path, column, group, row) for group, count in enumerate(rows) for row in range(count)]
        return cls(places)

    def __len__(self):
        return len(self.places)

    def only(self, positions):
        """Return the store of these positions."""
        return ParquetStore([self.places[position] for position in positions])

    def title(self, position):
        """Return an image's name in messages."""
        path, _, group, row = self.places[position]
        return f"{path}: row {row} of group {group}"

    def read(self, position):
        """Return an image's bytes; InputError for a row without any."""
        path, column, group, row = self.places[position]
        with self._lock:
            if self._group[0] != (path, group):
                with parquet_errors(path) as parquet:
                    self._group = (path, group), read_rows(parquet.ParquetFile(path), group, [column], path)[column]
            image = stored_bytes(self._group[1][row])
        if not image:
            raise InputError("no image in this row", where=self.title(position), do="Remove it")
        return image


def _image_column(schema):
    """Return the name of the column with encoded images, None without."""
    for name in COLUMNS:
        if name in schema.names:
            kind = str(schema.field(name).type)
            if kind in ("binary", "large_binary") or (kind.startswith("struct<") and "bytes: binary" in kind):
                return name
    return None


class ListedFiles:
    """The image files that a text file names, one path a line, relative to its folder or absolute."""

    def __init__(self, folder, paths):
        self.folder, self._paths = folder, paths

    @classmethod
    def open(cls, path, endings):
        """Return the store of a list. Raises InputError for a line that names no image, or nothing that is there."""
        with system_errors(path), open(path, encoding="utf-8", errors="surrogateescape") as stream:
            lines = [(number, line.strip()) for number, line in enumerate(stream, 1) if line.strip()]
        paths = []
        for number, line in lines:
            target = os.path.join(path.parent, line)
            if not line.lower().endswith(endings) or not os.path.isfile(target):
                raise InputError(f"line {number} names no image file: '{line[:80]}'", where=path,
                                 do="One path a line, relative to the list's folder")
            paths.append(target)
        return cls(path.parent, paths)

    def __len__(self):
        return len(self._paths)

    def only(self, positions):
        """Return the store of these positions."""
        return ListedFiles(self.folder, [self._paths[position] for position in positions])

    def title(self, position):
        """Return an image's path."""
        return self._paths[position]

    def read(self, position):
        """Return an image's bytes."""
        with system_errors(self._paths[position]):
            return read_regular(self._paths[position])


def open_archive(paths, endings):
    """Return the store of the images in tar files, parquet files or one list, by the suffix of the first."""
    suffix = paths[0].suffix.lower()
    if suffix in LISTS:
        return ListedFiles.open(paths[0], endings)
    return TarStore.open(paths, endings) if suffix in TARS else ParquetStore.open(paths)
