"""Pictures as data URIs: unchanged when small, made smaller when large, within a budget for the page."""

import base64
import io
import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from common.errors import InputError
from common.files import read_regular, system_errors
from common.images.bounds import PILLOW_ERRORS, check_claims

CARD = (1400, 700_000)  # longest side in pixels and bytes of the picture of a card
SIDES = ((30, 900, 250_000), (120, 480, 60_000), (10**9, 160, 12_000))  # of a gallery: up to so many, side, bytes
MOST = 300  # pictures of all galleries
OF_A_RUN = 24
BUDGET = 6_000_000  # bytes of all pictures
TINY = 160  # pixels of a side up to which pictures are enlarged, without smoothing
SHOWN = 320  # pixels that a tiny picture is enlarged to, about


@dataclass
class Picture:
    """A picture of the page."""

    uri: str
    width: int  # as shown
    height: int
    tiny: bool  # enlarged


class Album:
    """The pictures of a page, each read once for its size. unreadable: {name: reason}, to which bad ones are added."""

    def __init__(self, unreadable):
        self.unreadable, self.left, self._made = unreadable, BUDGET, {}

    def card(self, name, path):
        """Return the Picture of a card, or None."""
        return self._take(name, self._attempt(name, path, *CARD))

    def galleries(self, groups):
        """Return, for each list of (name, path), the list of (name, path, Picture) that the page has room for.

        Of many runs each shows its first picture before any shows its second.
        """
        chosen = [group[:OF_A_RUN] for group in groups]
        turns = [(turn, index) for index, group in enumerate(chosen) for turn in range(len(group))]
        turns = sorted(turns)[:MOST]
        side, heaviest = next((side, bytes) for most, side, bytes in SIDES if len(turns) <= most)
        with ThreadPoolExecutor(os.process_cpu_count() if hasattr(os, "process_cpu_count") else os.cpu_count()) as pool:
            made = pool.map(lambda turn: self._attempt(*chosen[turn[1]][turn[0]], side, heaviest), turns)
            made = dict(zip(turns, made))
        shown = [[] for _ in groups]
        for turn, index in turns:
            picture = self._take(chosen[index][turn][0], made[turn, index])
            if picture is not None:
                shown[index].append((*chosen[index][turn], picture))
        return shown

    def _attempt(self, name, path, side, heaviest):
        """Return a Picture, or the InputError that says why there is none."""
        try:
            return read_picture(path, side, heaviest)
        except InputError as error:
            return error

    def _take(self, name, picture):
        if isinstance(picture, InputError):
            self.unreadable[name] = picture.what
            return None
        if len(picture.uri) > self.left:
            return None
        self.left -= len(picture.uri)
        return picture


def read_picture(path, side, heaviest):
    """Return the Picture of a file, no longer than `side` pixels and hardly over `heaviest` bytes. Raises InputError
    when it cannot be read."""
    from PIL import Image

    with system_errors(path):
        data = read_regular(path)
    try:
        check_claims(data)
        with Image.open(io.BytesIO(data)) as picture:
            kind = picture.format
            picture.draft("RGB", (side, side))
            picture.load()
            if kind not in ("PNG", "JPEG") or max(picture.size) > side or len(data) > heaviest:
                picture.thumbnail((side, side))
                data, kind = _encode(picture, heaviest)
            width, height = picture.size
    except (*PILLOW_ERRORS, Image.DecompressionBombError) as error:
        raise InputError("not a readable image", where=path) from error
    tiny = max(width, height) <= TINY < side
    factor = max(1, SHOWN // max(width, height)) if tiny else 1
    uri = f"data:image/{'png' if kind == 'PNG' else 'jpeg'};base64,{base64.b64encode(data).decode()}"
    return Picture(uri, width * factor, height * factor, tiny)


def _encode(picture, heaviest):
    """Return (bytes, kind): PNG, which figures are smallest in, where it is light enough, else JPEG on white."""
    if picture.mode not in ("RGB", "L", "RGBA", "LA", "P", "1"):
        picture = picture.convert("RGB")
    stream = io.BytesIO()
    if max(picture.size) > 256:
        picture.save(stream, format="PNG")
        if stream.tell() <= heaviest:
            return stream.getvalue(), "PNG"
    if picture.mode not in ("RGB", "L"):
        from PIL import Image

        picture = picture.convert("RGBA")
        picture = Image.alpha_composite(Image.new("RGBA", picture.size, "white"), picture).convert("RGB")
    for quality in (85, 60):
        stream = io.BytesIO()
        picture.save(stream, format="JPEG", quality=quality)
        if stream.tell() <= heaviest:
            break
    return stream.getvalue(), "JPEG"
