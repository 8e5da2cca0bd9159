"""Small files that claim, or unfold to, gigabytes: refused at once and without the memory (R6)."""

import gzip
import io
import struct
import tarfile
import zipfile
import zlib

import numpy as np
import pytest
from PIL import Image

from common.datasets.dlas.chunked.index import open_index
from common.datasets.dlas.chunked.packed import open_packed
from common.errors import InputError
from common.images.bounds import check_claims, claimed_size
from common.images.photos import SkippedPhoto, decode_photo
from tests.common.limits import using_at_most, within_bounds
from tests.readers.kinds import cifar, every_image, mnist, npz_rows, picture, readings, tree
from tools.extract_subimages.folder_checks import Report

MUCH = 64 << 20  # bytes
SIDE = 30_000


def chunk(name, data, length=None):
    """Return a chunk of a PNG, of another length than it has where one is given."""
    head = struct.pack(">I", len(data) if length is None else length)
    return head + name + data + struct.pack(">I", zlib.crc32(name + data))


def png(width, height, *chunks):
    head = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + head + b"".join(chunks)


def flat_png():
    """Return a PNG of 30,000 x 30,000 black pixels, 12 MB: 2.7 GB unfolded."""
    packer, rows = zlib.compressobj(1), bytes(100 * (1 + 3 * SIDE))
    data = (packer.compress(rows) + packer.flush(zlib.Z_FULL_FLUSH)) * (SIDE // 100)
    return png(SIDE, SIDE, chunk(b"IDAT", data), chunk(b"IEND", b""))


def with_length(name):
    """Return a PNG of 8 kB, one of whose chunks says that it has 2 GB."""
    whole = picture("PNG")
    data = chunk(name, bytes(8000), (1 << 31) - 10)
    return whole[:33] + data + whole[33:]


def replaced(data, place, value):
    return data[:place] + value + data[place + len(value) :]


def jpeg(marker):
    whole = picture("JPEG", progressive=marker == 0xC2)
    return replaced(whole, whole.index(bytes([0xFF, marker])) + 5, struct.pack(">HH", SIDE, SIDE))


def tiff():
    stream = io.BytesIO()
    Image.new("RGB", (10_000, 10_000)).save(stream, "TIFF", compression="tiff_adobe_deflate")
    return stream.getvalue()


def scans():
    whole = picture("JPEG", progressive=True)
    place = whole.rindex(b"\xff\xda")
    return whole[:place] + whole[place:-2] * 2000 + whole[-2:]


IMAGES = {
    "PNG, IDAT of 2 GB": lambda: with_length(b"IDAT"), "PNG, text of 2 GB": lambda: with_length(b"tEXt"),
    "PNG, unknown chunk of 2 GB": lambda: with_length(b"abCd"), "PNG, 30,000 x 30,000 black": flat_png,
    "JPEG": lambda: jpeg(0xC0), "JPEG, progressive": lambda: jpeg(0xC2), "JPEG, 2,000 scans": scans,
    "BMP": lambda: replaced(picture("BMP"), 18, struct.pack("<ii", SIDE, -SIDE)),
    "GIF": lambda: replaced(picture("GIF"), 6, struct.pack("<HH", SIDE, SIDE)),
    "PPM": lambda: b"P6 # a comment\n30000 30000\n255\n" + bytes(1000),
    "PFM": lambda: b"PF\n30000 30000\n-1.0\n" + bytes(99),
    "PAM": lambda: b"P7\nWIDTH 30000\nHEIGHT 30000\nDEPTH 3\nMAXVAL 255\nTUPLTYPE RGB\nENDHDR\n" + bytes(99),
    "Radiance": lambda: b"#?RADIANCE\nFORMAT=32-bit_rle_rgbe\n\n-Y 30000 +X 30000\n" + bytes(1000),
    "TIFF, 10,000 x 10,000 black": tiff,
    "WebP, lossless": lambda: (lambda whole: replaced(whole, whole.index(b"VP8L") + 9, b"\xff\xff\xff\x0f"))(
        picture("WEBP", lossless=True)),
    "AVIF": lambda: (lambda whole: replaced(whole, whole.index(b"ispe") + 8, struct.pack(">II", SIDE, SIDE)))(
        picture("AVIF")),
    "JPEG 2000": lambda: (lambda whole: replaced(whole, whole.index(b"ihdr") + 4, struct.pack(">II", SIDE, SIDE)))(
        picture("JPEG2000")),
}


@pytest.mark.parametrize("name", IMAGES)
def test_R6_an_image_that_claims_gigabytes_is_refused_by_every_reader(name, tmp_path):
    data = IMAGES[name]()
    (tmp_path / "a.png").write_bytes(data)
    with within_bounds(seconds=4), using_at_most(MUCH):
        with pytest.raises(ValueError, match="claim|chunk of|scans"):
            check_claims(data)
        for options in ({}, {"original": True}):
            with pytest.raises(SkippedPhoto):
                decode_photo(data, **options)
        refused = 0
        for read in every_image(tmp_path / "a.png"):
            try:
                read()
            except InputError as error:
                refused += 1
                assert "\n" not in str(error)  # noqa: PT017 - readers of headers alone may read it
        assert refused >= 4


@pytest.mark.parametrize("form", ["PNG", "JPEG", "BMP", "GIF", "PPM", "TIFF", "WEBP", "AVIF", "JPEG2000"])
def test_R6_the_size_that_an_honest_image_claims_is_its_own(form):
    stream = io.BytesIO()
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (30, 41, 3), np.uint8)).save(stream, form)
    assert claimed_size(stream.getvalue()) == (30, 41)
    check_claims(stream.getvalue())


def test_R6_a_truncated_png_of_any_length_is_refused():
    whole = picture("PNG")
    for length in range(20, len(whole) - 12, 37):
        with pytest.raises(SkippedPhoto):
            decode_photo(whole[:length])


def zeros(path, count, each, compression=zipfile.ZIP_DEFLATED):
    """Write an npz of arrays of zeros without holding them."""
    head = io.BytesIO()
    np.lib.format.write_array_header_1_0(head, {"descr": "|u1", "fortran_order": False, "shape": (each, 1, 1, 1)})
    with zipfile.ZipFile(path, "w", compression, compresslevel=1) as archive:
        for number in range(count):
            with archive.open("images.npy" if number == 0 else f"a{number}.npy", "w", force_zip64=True) as stream:
                stream.write(head.getvalue())
                for _ in range(each >> 24):
                    stream.write(bytes(1 << 24))


@pytest.mark.long
def test_R6_ten_gigabytes_of_zeros_in_an_npz(tmp_path):
    zeros(tmp_path / "a.npz", 1, 10 << 30)
    check_bomb(npz_rows(tmp_path / "a.npz"))


def test_R6_zeros_in_many_members_of_an_npz(tmp_path):
    zeros(tmp_path / "a.npz", 9, 128 << 20)
    check_bomb(npz_rows(tmp_path / "a.npz"))
    (tmp_path / "a.npz").rename(tmp_path / "a.zip")
    check_bomb(tree(tmp_path / "a.zip"))


def test_R6_sizes_in_the_directory_of_a_zip(tmp_path):
    np.savez_compressed(tmp_path / "a.npz", images=np.zeros((4, 8, 8, 3), np.uint8))
    whole = (tmp_path / "a.npz").read_bytes()
    place = whole.index(b"PK\x01\x02") + 24
    (tmp_path / "a.npz").write_bytes(replaced(whole, place, struct.pack("<I", 0xF0000000)))
    check_bomb(npz_rows(tmp_path / "a.npz"))


def check_bomb(reads):
    """Assert that every reading is refused in one line, soon and without the memory."""
    with within_bounds(seconds=6), using_at_most(MUCH):
        for read in reads:
            with pytest.raises(InputError) as caught:
                read()
            assert "\n" not in str(caught.value)


@pytest.mark.long
def test_R6_gzip_that_unfolds_without_end(tmp_path):
    piece = gzip.compress(bytes(1 << 28), 9)  # members of one gzip file follow each other
    for name in ("t10k-images-idx3-ubyte.gz", "t10k-labels-idx1-ubyte.gz"):
        (tmp_path / name).write_bytes(piece * 5)
    with within_bounds(seconds=20), using_at_most(1200 << 20), pytest.raises(InputError, match="unfolds from"):
        next(mnist(tmp_path / name))()


def test_R6_members_of_a_tar_gz_that_claim_gigabytes(tmp_path):
    path = tmp_path / "cifar-10-python.tar.gz"
    with tarfile.open(path, "w:gz") as archive:
        member = tarfile.TarInfo("cifar-10-batches-py/test_batch")
        member.size = 1 << 40
        archive.fileobj.write(member.tobuf())
        archive.fileobj.write(bytes(4096))
    check_bomb(cifar(path))


@pytest.mark.parametrize("size", [1 << 33, 1 << 45])
def test_R6_members_of_a_shard_that_claim_gigabytes(size, tmp_path):
    (tmp_path / "set").mkdir()
    member = tarfile.TarInfo("a/00000001.jpg")
    member.size = size
    (tmp_path / "set" / "shard-000000.tar").write_bytes(member.tobuf(tarfile.GNU_FORMAT) + bytes(20480))
    with within_bounds(), using_at_most(MUCH), pytest.raises(InputError, match=r"shard-000000.tar: .*claims"):
        open_packed(open_index(tmp_path / "set"), 0)


def test_R6_one_image_of_a_parquet_that_stands_for_a_million(tmp_path):
    """A dictionary of one value: 0.5 MB that would take 9.6 GB, read by scores, by data sets and by inspect."""
    import pyarrow
    import pyarrow.parquet

    from common.datasets.dlas.chunked.packed import ParquetShard
    from common.features.sources import open_images
    from tools.extract_subimages.shard_checks import check_shard

    image = np.random.default_rng(0).bytes(480_000)
    many = pyarrow.DictionaryArray.from_arrays(pyarrow.array(np.zeros(20_000, np.int32)), pyarrow.array([image]))
    path = tmp_path / "shard-000000.parquet"
    pyarrow.parquet.write_table(pyarrow.table({"image": many}), path, store_schema=False, row_group_size=20_000)
    with using_at_most(512 << 20):
        for read in (lambda: open_images(path).load(0), lambda: ParquetShard(str(path), 0).read((0, 0, "image"))):
            with pytest.raises(InputError, match="more unfolds from"):
                read()
        path.with_suffix(".jsonl").write_text("")
        report = Report()
        check_shard(path, report)
    assert "more unfolds from" in str(report.problems)


def test_R6_an_lmdb_whose_shape_claims_gigabytes(tmp_path):
    lmdb = pytest.importorskip("lmdb")
    with lmdb.open(str(tmp_path / "set"), map_size=1 << 20) as base, base.begin(write=True) as writer:
        for key, value in {"images_shape": b"1 3 99999 99999", "labels_shape": b"1", "images_0_data": bytes(48),
                           "labels_0_data": bytes(8)}.items():
            writer.put(key.encode(), value)
    check_bomb(readings("lmdb", tmp_path / "set" / "data.mdb"))


def test_R6_a_shard_of_tfds_whose_name_claims_a_million_millions(tmp_path):
    from common.datasets.sets.tfds import find_tfds

    folder = tmp_path / "cifar10" / "3.0.2"
    folder.mkdir(parents=True)
    (folder / "cifar10-test.tfrecord-00000-of-999999999999").write_bytes(b"")
    with within_bounds(), using_at_most(MUCH), pytest.raises(InputError, match="no such file, but"):
        find_tfds("cifar10", "test", [tmp_path])
