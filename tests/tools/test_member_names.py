"""Names in archives that lead elsewhere, and links: nothing is written or read outside the places that were named."""

import io
import tarfile
import zipfile

import numpy as np
import pytest

from common.datasets import open_dataset
from common.errors import InputError
from tests.readers.kinds import cifar, picture
from tests.tools.commands import call_tool

ELSEWHERE = ("../../evil", "/tmp/genprobe_evil", "a/../../../evil", "..\\..\\evil", "C:\\evil")


def entries(path):
    return {item: item.stat().st_mtime_ns for item in path.rglob("*")}


@pytest.mark.parametrize("name", ELSEWHERE)
def test_statistics_in_a_tar_are_copied_under_their_last_name_alone(name, own_folder):
    stream = io.BytesIO()
    np.savez(stream, mu=np.zeros(2048, np.float32), sigma=np.eye(2048))
    with tarfile.open(own_folder / "fid_stats.tar.gz", "w:gz", compresslevel=1) as archive:
        member = tarfile.TarInfo(f"{name}.npz")
        member.size = len(stream.getvalue())
        archive.addfile(member, io.BytesIO(stream.getvalue()))
        for kind in (tarfile.SYMTYPE, tarfile.LNKTYPE):
            link = tarfile.TarInfo("linked.npz")
            link.type, link.linkname = kind, "/etc/passwd"
            archive.addfile(link)
    above = set(own_folder.parent.iterdir())
    ended = call_tool("setup_fid", "--action", "download", "--path", "fid_stats.tar.gz", "--stats_dir", "stats")
    assert ended.status in (0, 2), ended.err
    assert set(own_folder.parent.iterdir()) == above
    assert {path.name for path in own_folder.iterdir()} <= {"fid_stats.tar.gz", "stats", ".genprobe_cache"}
    assert not any(path.is_symlink() or "linked" in path.name for path in own_folder.rglob("*"))


@pytest.mark.parametrize("name", ELSEWHERE)
def test_images_in_a_zip_are_read_in_place_or_left_out(name, own_folder):
    with zipfile.ZipFile(own_folder / "a.zip", "w") as archive:
        for number in range(3):
            archive.writestr(f"{name}{number}.png", picture("PNG"))
    before = entries(own_folder)
    if ".." in name:  # as hidden ones are
        with pytest.raises(InputError, match="no image found"):
            open_dataset("a.zip", "train")
    else:
        images = open_dataset("a.zip", "train")
        assert images.read(np.arange(len(images))).shape[1:] == (24, 24, 3)
    assert entries(own_folder) == before


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE])
def test_links_in_a_tar_are_no_files_of_it(kind, own_folder):
    path = own_folder / "cifar-10-python.tar.gz"
    with tarfile.open(path, "w:gz") as archive:
        link = tarfile.TarInfo("cifar-10-batches-py/test_batch")
        link.type, link.linkname = kind, "/etc/passwd"
        archive.addfile(link)
    with pytest.raises(InputError, match="no cifar-10-batches-py/test_batch in the archive"):
        next(cifar(path))()
