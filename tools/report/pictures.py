"""Pictures as data URIs: unchanged when small, downsized when large."""

import base64
import io

from common.errors import InputError
from common.files import system_errors
from common.images.bounds import PILLOW_ERRORS, check_claims

LARGEST = 1600  # pixels of a side; larger pictures are scaled down
HEAVIEST = 1_500_000  # bytes; larger files are re-encoded
TINY = 160  # pixels of a side up to which pictures are enlarged, without smoothing
SHOWN = 320  # pixels that a tiny picture is enlarged to, about


def figure_parts(path):
    """Return (data URI, width, height as shown, tiny) of a picture. Raises InputError when it cannot be read."""
    from PIL import Image

    with system_errors(path):
        data = path.read_bytes()
    try:
        check_claims(data)
        with Image.open(io.BytesIO(data)) as picture:
            picture.load()
            kind = picture.format
            if kind not in ("PNG", "JPEG") or max(picture.size) > LARGEST or len(data) > HEAVIEST:
                picture.thumbnail((LARGEST, LARGEST))
                data, kind = _encode(picture)
            width, height = picture.size
    except (*PILLOW_ERRORS, Image.DecompressionBombError) as error:
        raise InputError("not a readable image", where=path) from error
    tiny = max(width, height) <= TINY
    factor = max(1, SHOWN // max(width, height)) if tiny else 1
    uri = f"data:image/{'png' if kind == 'PNG' else 'jpeg'};base64,{base64.b64encode(data).decode()}"
    return uri, width * factor, height * factor, tiny


def _encode(picture):
    """Return (bytes, kind): JPEG for colour without transparency, PNG otherwise."""
    stream = io.BytesIO()
    if picture.mode in ("RGB", "L"):
        picture.save(stream, format="JPEG", quality=90)
        return stream.getvalue(), "JPEG"
    picture.save(stream, format="PNG")
    return stream.getvalue(), "PNG"
