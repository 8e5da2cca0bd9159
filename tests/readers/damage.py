"""Damage of files: seeded mutations of bytes, and of the values in JSON."""

import io
import json
import zipfile

import numpy as np

LENGTHS = (b"\xff\xff\xff\x7f", b"\x7f\xff\xff\xff", b"\xff" * 4, b"\0" * 4, b"\0\0\0\x80", b"\xff" * 8)
VALUES = (None, -1, 0, 10**12, 10**30, 1.5, float("nan"), "", "\x1b[31m\n", "../../x", [], [[]], {}, True, [1, 2],
          {"a": 1})


def mutate(data, seed):
    """Return bytes with some changed, cut off, doubled, left out, set to zero, swapped or taken for another length."""
    rng = np.random.default_rng(seed)
    found = bytearray(data)
    for _ in range(1 + int(rng.integers(3)) * (seed % 3 == 0)):
        head = len(found) if seed % 2 else min(len(found), 512)  # headers are the better half
        place = int(rng.integers(max(head, 1)))
        length = int(rng.integers(1, 60))
        piece = found[place : place + length]
        kind = seed % 8
        if kind == 0:
            for _ in range(int(rng.integers(1, 12))):
                found[int(rng.integers(head))] = int(rng.integers(256))
        elif kind == 1:
            del found[max(place, 1) :]
        elif kind == 2:
            found[place:place] = piece
        elif kind == 3:
            found[place : place + length] = bytes(len(piece))
        elif kind == 4:
            del found[place : place + length]
        elif kind == 5:
            found[place : place + 8] = LENGTHS[int(rng.integers(len(LENGTHS)))]
        elif kind == 6:
            found[place] ^= 1 << int(rng.integers(8))
        else:
            other = int(rng.integers(len(found)))
            found[other : other + length] = piece
        found = found or bytearray(b"\0")
    return bytes(found)


def mutate_json(data, seed):
    """Return JSON with one value replaced by another, left out or renamed; a line of several where it has lines.

    Every fifth has its bytes damaged instead.
    """
    if seed % 5 == 4:
        return mutate(data, seed)
    rng = np.random.default_rng(seed)
    try:
        value = json.loads(data)
    except ValueError:
        lines = data.splitlines()
        chosen = int(rng.integers(len(lines)))
        lines[chosen] = mutate_json(lines[chosen], seed)
        return b"\n".join(lines) + b"\n"
    places = list(_places(value))
    if not places:
        return mutate(data, seed)
    _damage(*places[int(rng.integers(len(places)))], rng)
    return json.dumps(value).encode()


def within(ending, change=mutate):
    """Return a damage of the member of a zip whose name has this ending; the archive itself is sound."""
    def damage(data, seed):
        stream = io.BytesIO()
        with zipfile.ZipFile(io.BytesIO(data)) as archive, zipfile.ZipFile(stream, "w") as changed:
            for entry in archive.infolist():
                whole = archive.read(entry)
                whole = change(whole, seed) if entry.filename.endswith(ending) else whole
                changed.writestr(zipfile.ZipInfo(entry.filename), whole)
        return stream.getvalue()

    return damage


def npy_head(data, seed):
    """Return a .npy whose header says another shape or type."""
    shape = ("(4, 16, 16, 3)", "(9999999999, 16, 16, 3)", "(-1,)", "(4, 0)", "()", "(4, 16, 16, 3, 2**60)", "(1,)", "4")
    kinds = ("'|u1'", "'<f8'", "'|O'", "'<U99999999'", "[('a', '<i4')]", "'|V1000'", "'<M8[s]'", "5")
    text = f"{{'descr': {kinds[seed // 8 % 8]}, 'fortran_order': {bool(seed % 3)}, 'shape': {shape[seed % 8]}, }}"
    head = text.encode().ljust(117) + b"\n"
    return data[:8] + len(head).to_bytes(2, "little") + head + data[10 + int.from_bytes(data[8:10], "little") :]


def safetensors_head(data, seed):
    """Return a .safetensors with a value of its header replaced."""
    length = int.from_bytes(data[:8], "little")
    head = mutate_json(data[8 : 8 + length], seed)
    return len(head).to_bytes(8, "little") + head + data[8 + length :]


def configuration(data, seed):
    """Return a checkpoint with a value of its stored configuration replaced."""
    import torch

    value = torch.load(io.BytesIO(data), weights_only=True)
    with_step = json.loads(value["genprobe"])
    value["genprobe"] = mutate_json(json.dumps(with_step).encode(), seed - seed % 5).decode(errors="replace")
    stream = io.BytesIO()
    torch.save(value, stream)
    return stream.getvalue()


def torch_values(data, seed):
    """Return a torch file with one value, tensor or not, replaced by another, left out or renamed."""
    import torch

    value = torch.load(io.BytesIO(data), weights_only=True)
    rng = np.random.default_rng(seed)
    places = list(_places(value))
    depths = [1 if owner is value else 2 if any(owner is each for each in value.values()) else 3 for owner, _ in places]
    chosen = rng.choice([number for number, depth in enumerate(depths) if depth == 1 + seed % 3] or len(places))
    _damage(*places[int(chosen)], rng, torch.full((2, 0, 3) if seed % 2 else (5,), float("nan")))
    stream = io.BytesIO()
    torch.save(value, stream)
    return stream.getvalue()


def hyper_parameters(data, seed):
    """Return a Lightning checkpoint with one of its hyper-parameters replaced, left out or renamed."""
    import torch

    value = torch.load(io.BytesIO(data), weights_only=True)
    text = json.dumps(value["hyper_parameters"]).encode()
    value["hyper_parameters"] = json.loads(mutate_json(text, seed + (seed % 5 == 4)))
    stream = io.BytesIO()
    torch.save(value, stream)
    return stream.getvalue()


def _damage(owner, key, rng, *more):
    """Leave out, rename, nest or replace the value owner[key]. more: a further value that may take its place."""
    how = int(rng.integers(5 + len(more)))
    if how == 0:
        del owner[key]
    elif how == 1 and isinstance(owner, dict):
        owner[f"{key}_"] = owner.pop(key)
    elif how == 2:
        owner[key] = [owner[key]]
    elif how == 3 and more:
        owner[key] = more[0]
    else:
        owner[key] = VALUES[int(rng.integers(len(VALUES)))]


def _places(value):
    """Yield (container, key) of every value inside one."""
    pairs = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, item in list(pairs):
        yield value, key
        yield from _places(item)
