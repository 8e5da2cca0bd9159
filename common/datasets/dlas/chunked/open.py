"""Opening chunks of any layout."""

from common.datasets.dlas.chunked.chunks import SHARD_ENDINGS, FolderChunk, VirtualChunk
from common.datasets.dlas.chunked.index import SQUARE
from common.datasets.dlas.chunked.packed import open_packed
from common.datasets.dlas.chunked.virtual import Squares
from common.errors import InputError
from common.numerals import counted


def open_chunks(listing, limit=0):
    """Return the chunks of a data set with at least one tile, in the order of their names.

    listing: index.Listing.  limit: bytes for decoded squares of the virtual layout.  InputError if there are none.
    """
    root = listing.root.rstrip("/") or "/"
    squares, chunks = Squares(limit), []
    for folder in listing.folders:
        if folder.tiles or folder.inner:
            virtual = f"/{SQUARE}" in f"/{folder.others}"
            chunk = VirtualChunk(root, folder, squares) if virtual else FolderChunk(root, folder)
            chunks += [chunk] if len(chunk) else []
    if any(name.endswith(SHARD_ENDINGS) for name in listing.files):
        chunks = sorted([*chunks, *open_packed(listing, limit)], key=lambda chunk: chunk.name)
    if not chunks:
        count = len(listing.folders)
        what = f"{counted(count, 'folder')}, none with tiles" if count else "no folders or shards in it"
        raise InputError(f"not a chunked data set: {what}", where=listing.root,
                         do="Pass the save_folder of extract_subimages, with a folder per photo")
    return chunks
