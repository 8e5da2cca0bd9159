"""Small chunked data sets of every layout, as extract_subimages writes them, with colours that tell folder and tile."""

import io
import json
import os
import pickle
import tarfile
import time
from pathlib import Path

import cv2
import numpy as np

SIDE = 16
MODE = "single_image_extensible"


def options_for(root, **more):
    """Return the options of a small SingleImage data set."""
    return {"mode": MODE, "paths": str(root), "target_size": SIDE, "scale": 2, **more}


def colour(folder, tile, side=SIDE):
    """Return the pixels (BGR) of a tile: red 128, green tells the tile, blue the folder."""
    return np.full((side, side, 3), (8 * folder, 40 * tile, 128), np.uint8)


def told_by(item):
    """Return (folder number, tile number) that an item's colour tells."""
    red, green, blue = (int(round(float(value) * 255)) for value in item["hq"][:, 0, 0])
    assert red == 128
    return blue // 8, green // 40


def png(pixels):
    """Return the bytes of a PNG."""
    return cv2.imencode(".png", pixels)[1].tobytes()


def jpg(pixels):
    """Return the bytes of a JPEG."""
    return cv2.imencode(".jpg", pixels)[1].tobytes()


def save_centers(path, centers):
    """Write a centers.pt as the original does."""
    import torch

    torch.save(centers, path)


def add_folder(root, name, number, tiles, first_id, side=SIDE):
    """Write one chunk folder; its tile k lies in the k-th quarter of the reference."""
    folder = Path(root) / name
    folder.mkdir(parents=True)
    (folder / "ref.jpg").write_bytes(jpg(np.full((SIDE, SIDE, 3), 100, np.uint8)))
    for tile in range(tiles):
        (folder / f"{first_id + tile:08d}.png").write_bytes(png(colour(number, tile, side)))
    save_centers(folder / "centers.pt", {first_id + tile: (place(tile), SIDE // 2) for tile in range(tiles)})
    return folder


def place(tile):
    """Return (row, col) of the centre of tile k."""
    return (SIDE // 4 + SIDE // 2 * (tile // 2 % 2), SIDE // 4 + SIDE // 2 * (tile % 2))


def make_folders(root, names=("a_left_0", "b_left_1", "c_left_2"), tiles=2):
    """Write a data set of the layout of folders; returns its root as text."""
    for number, name in enumerate(names):
        count = tiles if isinstance(tiles, int) else tiles[number]
        add_folder(root, name, number, count, 1 + 10 * number)
    return str(root)


def make_old(root, seconds=60):
    """Set the modification times of all folders back, and wait until their change times are trusted, too."""
    then = time.time() - seconds
    for folder, _, _ in os.walk(root):
        os.utime(folder, (then, then))


def records_of(number, tiles):
    """Return the geometry records of a chunk."""
    return [{"id": 1 + tile, "scale": 0, "top": 0, "left": SIDE * tile, "crop": SIDE, "size": SIDE, "width": SIDE // 2,
             "center": list(place(tile))} for tile in range(tiles)]


def make_virtual(root, names=("a_left", "b_left", "c_left"), tiles=2):
    """Write a data set of the virtual layout: the tiles stand side by side in the square."""
    for number, name in enumerate(names):
        folder = Path(root) / name
        folder.mkdir(parents=True)
        square = np.zeros((SIDE * tiles, SIDE * tiles, 3), np.uint8)
        for tile in range(tiles):
            square[:SIDE, SIDE * tile : SIDE * tile + SIDE] = colour(number, tile)
        (folder / "square.png").write_bytes(png(square))
        (folder / "ref.jpg").write_bytes(jpg(np.full((SIDE, SIDE, 3), 100, np.uint8)))
        records = records_of(number, tiles)
        save_centers(folder / "centers.pt", {row["id"]: (tuple(row["center"]), row["width"]) for row in records})
        lines = [{"version": 1, "layout": "virtual", "format": "png", "tiles": tiles}, *records]
        (folder / "geometry.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return str(root)


def samples_of(name, number, tiles):
    """Yield (key, image bytes, ending, record) of a chunk's tiles and of its reference."""
    for record in records_of(number, tiles):
        yield f"{name}/{record['id']:08d}", png(colour(number, record["id"] - 1)), "png", record
    yield f"{name}/ref", jpg(np.full((SIDE, SIDE, 3), 100, np.uint8)), "jpg", {}


def make_tar(root, names=("a_left", "b_left", "c_left"), tiles=2, index=True):
    """Write a data set of one tar shard, with the .jsonl beside it when index is true."""
    Path(root).mkdir(parents=True)
    path, columns = Path(root) / "shard-000000.tar", ["id", "scale", "top", "left", "crop", "size", "width", "center"]
    lines, spans = [], {}
    with tarfile.open(path, "w") as archive:
        for number, name in enumerate(names):
            for key, data, ending, record in samples_of(name, number, tiles):
                _add(archive, f"{key}.{ending}", data)
                _add(archive, f"{key}.json", json.dumps({"key": key, **record}).encode())
    with tarfile.open(path) as archive:
        spans = {member.name.rpartition(".")[0]: (member.offset_data, member.size)
                 for member in archive if not member.name.endswith(".json")}
    for number, name in enumerate(names):
        samples = [[key.split("/")[1], *spans[key], *(record.get(column) for column in columns)]
                   for key, _, _, record in samples_of(name, number, tiles)]
        lines.append({"chunk": name, "header": {"format": "png", "tiles": tiles},
                      "columns": ["name", "offset", "bytes", *columns],
                      "samples": samples})
    if index:
        path.with_suffix(".jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return str(root)


def _add(archive, name, data):
    member = tarfile.TarInfo(name)
    member.size = len(data)
    archive.addfile(member, io.BytesIO(data))


def make_parquet(root, names=("a_left", "b_left", "c_left"), tiles=2):
    """Write a data set of one parquet file, a row group for each chunk."""
    import pyarrow
    import pyarrow.parquet

    Path(root).mkdir(parents=True)
    writer = None
    for number, name in enumerate(names):
        rows = []
        for key, data, _, record in samples_of(name, number, tiles):
            row, col = record.get("center", (None, None))
            rows.append({"key": key, "id": record.get("id"), "width": record.get("width"), "row": row, "col": col,
                         "image": data})
        schema = pyarrow.schema([("key", pyarrow.string()),
                                 *((column, pyarrow.int32()) for column in ("id", "width", "row", "col")),
                                 ("image", pyarrow.binary())])
        table = pyarrow.Table.from_pylist(rows, schema=schema)
        writer = writer or pyarrow.parquet.ParquetWriter(Path(root) / "shard-000000.parquet", schema)
        writer.write_table(table)
    writer.close()
    return str(root)


class Hostile:
    """Unpickled by an ordinary reader, this makes a file."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.system, (f"touch {self.path}",)


def hostile_torch(path, proof):
    """Write a file of torch.save that would make the file `proof` when it is unpickled."""
    import torch

    torch.save({1: Hostile(proof)}, path)
    assert b"system" in Path(path).read_bytes()


def hostile_pickle(path, proof):
    """Write a bare pickle that would make the file `proof`."""
    Path(path).write_bytes(pickle.dumps([Hostile(proof)]))


def write_cache(root, listed, path=None):
    """Write a cache.pth as the original does. listed: {folder name: [tile names]}."""
    import sys
    import types

    import torch

    name = "data.images.chunk_with_reference"
    module = types.ModuleType(name)
    kind = type("ChunkWithReference", (), {"__module__": name})
    module.ChunkWithReference = kind
    chunks = []
    for folder, tiles in listed.items():
        chunk = kind()
        chunk.path = f"{path or root}/{folder}"
        chunk.tiles, chunk.need_metadata, chunk.need_ref = [f"{chunk.path}/{tile}" for tile in tiles], True, True
        chunks.append(chunk)
    added = {"data": types.ModuleType("data"), "data.images": types.ModuleType("data.images"), name: module}
    sys.modules.update(added)
    try:
        torch.save(chunks, Path(root) / "cache.pth")
    finally:
        for added_name in added:
            del sys.modules[added_name]
