"""`inspect` for shards: every sample is there, can be read, and lies where the index says."""

import json
from pathlib import Path

from common.datasets.dlas.chunked.index import HIDDEN, REFERENCES
from common.datasets.dlas.chunked.packed import read_rows, stored_bytes
from common.formats.tars import tar_members
from common.numerals import counted
from tools.extract_subimages.folder_checks import check_ranges
from tools.extract_subimages.packed import utf8


def check_shard(path, report, decode=True):
    """Check a tar or parquet shard against its index; problems are added to the report."""
    lines = _index(path, report)
    report.bytes += path.stat().st_size
    if lines is None:
        return
    read = _tar_samples if path.suffix == ".tar" else _parquet_samples
    try:
        samples = read(path)
    except (OSError, LookupError, TypeError, ValueError, EOFError, RuntimeError, AttributeError) as error:
        # tarfile's and pyarrow's errors are among these
        report.problem(path.name, f"cannot be read ({error})")
        return
    for number, line in enumerate(lines, 1):
        report.folders += 1
        with report.reading(f"{path.with_suffix('.jsonl').name} line {number}"):
            _check_chunk(path, line, samples, report, decode)
    for key in sorted(samples):
        report.problem(path.name, f"sample {key} is not in the index")


def _index(path, report):
    index = Path(path).with_suffix(".jsonl")
    try:
        return [json.loads(line) for line in index.read_text(encoding="utf-8").splitlines()]
    except FileNotFoundError:
        report.problem(index.name, "is missing")
        return None
    except (OSError, ValueError, RecursionError) as error:
        report.problem(index.name, f"cannot be read ({error})")
        return None


def _tar_samples(path):
    """Return {key: (image bytes, where they begin, what the .json tells)}."""
    import tarfile

    members = {}
    try:
        with tarfile.open(path, "r:") as archive:
            for member in tar_members(archive, path.stat().st_size):
                key, ending = member.name.removeprefix(REFERENCES).rsplit(".", 1)
                if member.name.startswith(REFERENCES):
                    key = key.replace(f"/{HIDDEN}", "/")
                members.setdefault(key, {})[ending] = (member.offset_data, archive.extractfile(member).read())
    except tarfile.TarError as error:
        raise ValueError(error) from error
    samples = {}
    for key, files in members.items():
        told = json.loads(files.pop("json", (0, b"{}"))[1])
        offset, data = next(iter(files.values()), (0, b""))
        samples[key] = (data, offset, told)
    return samples


def _parquet_samples(path):
    import pyarrow.parquet

    samples, file = {}, pyarrow.parquet.ParquetFile(path)
    names = file.schema_arrow.names
    columns = (read_rows(file, group, names, path) for group in range(file.num_row_groups))
    for row in (dict(zip(names, values)) for group in columns for values in zip(*(group[name] for name in names))):
        told = {**row, "center": [row["row"], row["col"]]}
        samples[row["key"]] = (stored_bytes(row["image"]), None, told)
        if row.get("reference") is not None:
            samples[f"{row['key'].rpartition('/')[0]}/ref"] = (stored_bytes(row["reference"]), None, {})
    return samples


def _check_chunk(path, line, samples, report, decode):
    from common.images.photos import SkippedPhoto
    from tools.extract_subimages.pixels import decode_quietly

    name, header = line["chunk"] if path.suffix == ".tar" else utf8(line["chunk"]), line["header"]
    side = (header["reference"]["side"],) * 2
    report.references[f"{side[1]}x{side[0]}"] += 1
    offsets = {entry[0]: entry[1] for entry in line.get("samples", [])}
    mine = {key: samples.pop(key) for key in [key for key in samples if key.rpartition("/")[0] == name]}
    if f"{name}/ref" not in mine:
        report.problem(f"{path.name}: {name}", "the reference is missing")
    if len(mine) - (f"{name}/ref" in mine) != header["tiles"]:
        report.problem(f"{path.name}: {name}", f"{counted(len(mine) - 1, 'tile')}, the index tells {header['tiles']}")
    for key, (data, offset, told) in mine.items():
        stem = key.rpartition("/")[2]
        if offset is not None and offsets.get(stem) != offset:
            report.problem(f"{path.name}: {key}", "does not lie where the index says")
        try:
            size = decode_quietly(data, exif=False).pixels.shape[:2] if decode else None
        except SkippedPhoto as error:
            report.problem(f"{path.name}: {key}", f"cannot be read ({error.detail})")
            continue
        if stem == "ref":
            continue
        report.tiles += 1
        report.scales[f"{told['crop']} px"] += 1
        check_ranges(f"{path.name}: {key}", {told["id"]: (told["center"], told["width"])}, side, report)
        if size is not None:
            report.sizes[f"{size[1]}x{size[0]}"] += 1
