"""Colour profiles written out: RGB of three primaries, grey, and a table of CMYK."""

import itertools
import struct

D50 = (0.9642, 1, 0.8249)


def _fixed(*values):
    return struct.pack(f">{len(values)}i", *(round(value * 65536) for value in values))


def _curve(gamma):
    return b"curv\0\0\0\0" + struct.pack(">IH", 1, round(gamma * 256)) + b"\0\0"


def _profile(space, connection, tags):
    """Return an ICC profile (version 2) of its tags, {name: bytes}."""
    tags = {b"desc": b"desc\0\0\0\0" + struct.pack(">I", 5) + b"wide\0" + bytes(79),
            b"wtpt": b"XYZ \0\0\0\0" + _fixed(*D50), **tags}
    directory, data, place = struct.pack(">I", len(tags)), b"", 128 + 4 + 12 * len(tags)
    for name, value in tags.items():
        directory += struct.pack(">4sII", name, place + len(data), len(value))
        data += value + bytes(-len(value) % 4)
    head = struct.pack(">I4sI4s4s4s", place + len(data), b"lcms", 0x02400000, b"mntr", space, connection)
    head = (head + bytes(12) + b"acsp").ljust(68, b"\0") + _fixed(*D50)
    return head.ljust(128, b"\0") + directory + data


def matrix_profile(primaries, gamma):
    """Return an RGB profile: primaries as XYZ columns adapted to D50, one gamma."""
    tags = {name: b"XYZ \0\0\0\0" + _fixed(*column) for name, column in zip((b"rXYZ", b"gXYZ", b"bXYZ"),
                                                                             zip(*primaries))}
    return _profile(b"RGB ", b"XYZ ", tags | dict.fromkeys((b"rTRC", b"gTRC", b"bTRC"), _curve(gamma)))


def grey_profile(gamma):
    """Return a profile of grey."""
    return _profile(b"GRAY", b"XYZ ", {b"kTRC": _curve(gamma)})


def ink_profile():
    """Return a CMYK profile: a table of L*a*b* at the 16 corners."""
    table = []
    for c, m, y, k in itertools.product((0, 1), repeat=4):
        light = 100 * (1 - 0.35 * c) * (1 - 0.4 * m) * (1 - 0.05 * y) * (1 - 0.9 * k)
        a, b = (-35 * c + 70 * m - 5 * y) * (1 - 0.8 * k), (-45 * c - 5 * m + 85 * y) * (1 - 0.8 * k)
        table += [round(light / 100 * 65280), round((a + 128) * 256), round((b + 128) * 256)]
    value = b"mft2\0\0\0\0" + bytes([4, 3, 2, 0]) + _fixed(1, 0, 0, 0, 1, 0, 0, 0, 1) + struct.pack(">HH", 2, 2)
    value += struct.pack(">8H", *(0, 65535) * 4) + struct.pack(">48H", *table) + struct.pack(">6H", *(0, 65535) * 3)
    return _profile(b"CMYK", b"Lab ", {b"A2B0": value})


WIDE = {
    "display-p3": matrix_profile([[0.51512, 0.29198, 0.15710], [0.24120, 0.69225, 0.06657], [-0.00105, 0.04189, 0.784]],
                                 2.2),
    "adobe": matrix_profile([[0.60974, 0.20528, 0.14919], [0.31111, 0.62567, 0.06322], [0.01947, 0.06087, 0.74457]],
                            2.2),
    "prophoto": matrix_profile([[0.79767, 0.13519, 0.03135], [0.28804, 0.71187, 0.00009], [0, 0, 0.8249]], 1.8),
}
