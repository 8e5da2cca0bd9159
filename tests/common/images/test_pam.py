"""PAM files of every depth and largest value, in the readers of photos and of data sets."""

import io

import numpy as np
import pytest

from common.errors import InputError
from common.features.sources import open_images
from common.images.decode import decode, read_header
from common.images.network_size import decode_image
from common.images.photos import SkippedPhoto, decode_photo
from common.images.pil_transforms import open_image

KINDS = {1: "GRAYSCALE", 2: "GRAYSCALE_ALPHA", 3: "RGB", 4: "RGB_ALPHA"}


def pam(values, top, kind=None, depth=None):
    """Return a PAM of whole numbers (H, W, C); entries in an order of its own, with a remark."""
    head = f"P7\n# made\nHEIGHT {values.shape[0]}\nMAXVAL {top}\nDEPTH {depth or values.shape[2]}\n"
    head += f"WIDTH {values.shape[1]}\n" + (f"TUPLTYPE {kind}\n" if kind else "") + "ENDHDR\n"
    return head.encode() + values.astype(">u2" if top > 255 else "u1").tobytes()


@pytest.mark.parametrize("depth", KINDS)
@pytest.mark.parametrize("top", [1, 100, 255, 1000, 65535])
@pytest.mark.parametrize("named", [True, False])
def test_every_depth_and_largest_value(depth, top, named):
    values = np.random.default_rng(depth).integers(0, top + 1, (6, 5, depth))
    file, levels = pam(values, top, KINDS[depth] if named else None), values * 255 / top
    colours = np.repeat(levels[..., :1], 3, -1) if depth < 3 else levels[..., :3]
    photo = decode_photo(file, keep_alpha=True).pixels
    assert np.abs(photo[..., 2::-1] - colours).max() <= 0.51
    if depth == 4:
        assert np.abs(photo[..., 3] - levels[..., 3]).max() <= 0.51
    limit = 0.51 if top <= 255 else 1.01  # the upper 8 of 16 bits
    readings = (decode(file, "a.pam"), np.asarray(decode_image(file, "a.pam")),
                np.asarray(open_image(io.BytesIO(file), "RGB", "a.pam", photo=True)))
    for pixels in readings:
        assert np.abs(pixels - colours).max() <= limit
    header = read_header(io.BytesIO(file), "a.pam")
    assert (header.height, header.width, header.grey, header.alpha, header.deep) == (6, 5, depth < 3, depth in (2, 4),
                                                                                      top > 255)


def test_black_and_white_and_files_of_folders(tmp_path):
    file = pam(np.array([[[0], [1]]]), 1, "BLACKANDWHITE")
    (tmp_path / "a.pam").write_bytes(file)
    assert decode_photo(file).pixels[0, :, 0].tolist() == [0, 255]
    assert open_images(tmp_path).load(0)[0, :, 0].tolist() == [0, 255]
    assert np.asarray(open_image(tmp_path / "a.pam", "RGB", "a.pam"))[0, :, 0].tolist() == [0, 255]


WHOLE = np.zeros((4, 4, 3), int)
BROKEN = {
    "tuples 'CMYK' of 4": pam(np.zeros((4, 4, 4), int), 255, "CMYK"), "tuples 'RGB' of 4":
    pam(np.zeros((4, 4, 4), int), 255, "RGB"), "tuples 'none' of 5": pam(np.zeros((4, 4, 5), int), 255),
    "largest value in range": pam(WHOLE, 255).replace(b"MAXVAL 255", b"MAXVAL 65536"),
    "is truncated": pam(WHOLE, 255)[:-1], "header line 'DEPTH -3'": pam(WHOLE, 255).replace(b"DEPTH 3", b"DEPTH -3"),
    "header line 'SIZE 4'": pam(WHOLE, 255).replace(b"WIDTH 4", b"SIZE 4"),
    "size, depth or largest": pam(WHOLE, 255).replace(b"WIDTH 4\n", b""), "end of its header": pam(WHOLE, 255)[:40],
}


@pytest.mark.parametrize("line", BROKEN)
def test_what_is_not_read_is_refused_by_name(line):
    with pytest.raises(SkippedPhoto, match=line):
        decode_photo(BROKEN[line])
    for read in (lambda: decode(BROKEN[line], "a.pam"), lambda: read_header(io.BytesIO(BROKEN[line]), "a.pam")):
        with pytest.raises(InputError, match=line):
            read()
