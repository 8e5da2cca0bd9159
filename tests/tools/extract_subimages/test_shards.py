"""Shards as their peers read them: parquet images as Hugging Face's datasets has them, photos in a random order."""

import json
import tarfile

import numpy as np
import pytest
import yaml

from common.datasets.dlas.options import create_dataset
from tests.tools.commands import refusal_of
from tests.tools.extract_subimages.photos import SMALL, TOOL, call, contents, extract, make_photos


def keys_of(folder):
    """Return the chunks of all shards, in order."""
    lines = [line for path in sorted(folder.glob("shard-*.jsonl")) for line in path.read_text().splitlines()]
    return [json.loads(line)["chunk"] for line in lines]


def test_parquet_images_are_structs_that_datasets_takes_for_pictures(tmp_path):
    pyarrow = pytest.importorskip("pyarrow.parquet")
    extract(make_photos(tmp_path / "in", 2), tmp_path / "out", "--layout", "parquet")
    extract(tmp_path / "in", tmp_path / "folders")
    table = pyarrow.read_table(tmp_path / "out/shard-000000.parquet")
    features = json.loads(table.schema.metadata[b"huggingface"])["info"]["features"]
    assert list(features) == table.column_names
    assert features["image"] == features["reference"] == {"_type": "Image"}
    assert features["id"] == {"dtype": "int32", "_type": "Value"}
    for row in table.to_pylist():
        assert row["image"]["path"] == f"{row['key']}.jpg"
        assert row["image"]["bytes"] == (tmp_path / "folders" / row["image"]["path"]).read_bytes()
    block = {"mode": "single_image_extensible", "target_size": 32, "scale": 1, "need_ref": True, "strict": True}
    first, second = (create_dataset({**block, "paths": str(tmp_path / name)}) for name in ("out", "folders"))
    for index in (0, 40):
        assert np.array_equal(first[index]["gt_fullsize_ref"], second[index]["gt_fullsize_ref"])
    assert call("inspect", tmp_path / "out", "--quiet").status == 0


def test_shards_whose_images_are_plain_bytes_are_read_and_made_again_when_a_run_goes_on(tmp_path):
    pyarrow, parquet = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    extract(make_photos(tmp_path / "in", 2), tmp_path / "out", "--layout", "parquet")
    path = tmp_path / "out/shard-000000.parquet"
    before = path.read_bytes()
    table = parquet.read_table(path)
    block = {"mode": "single_image_extensible", "target_size": 32, "scale": 1, "paths": str(tmp_path / "out")}
    expected = create_dataset(block)[3]["hq"]
    for name in ("image", "reference"):
        plain = pyarrow.array([value and value["bytes"] for value in table[name].to_pylist()], pyarrow.binary())
        table = table.set_column(table.column_names.index(name), name, plain)
    groups = [json.loads(line)["header"]["tiles"]
              for line in (tmp_path / "out/shard-000000.jsonl").read_text().splitlines()]
    with parquet.ParquetWriter(path, table.schema.remove_metadata(), compression="none") as writer:
        for index, count in enumerate(groups):
            writer.write_table(table.slice(sum(groups[:index]), count).replace_schema_metadata(None))
    assert np.array_equal(create_dataset(block)[3]["hq"], expected)
    assert call("inspect", tmp_path / "out", "--quiet").status == 0
    extract(tmp_path / "in", tmp_path / "out", "--layout", "parquet")
    assert path.read_bytes() == before


def test_shuffled_photos_are_the_same_for_a_seed_and_all_there(tmp_path):
    source = make_photos(tmp_path / "in", 9)
    extract(source, tmp_path / "sorted", "--layout", "packed")
    for name, words in (("one", ()), ("two", ("--n_thread", "2")), ("three", ("--seed", "3"))):
        extract(source, tmp_path / name, "--layout", "packed", "--shuffle", *words)
    ordered, one, three = (keys_of(tmp_path / name) for name in ("sorted", "one", "three"))
    assert one != ordered != three != one
    assert sorted(one) == sorted(three) == ordered
    assert contents(tmp_path / "one") == contents(tmp_path / "two")
    (tmp_path / "one/shard-000000.tar").unlink()
    extract(source, tmp_path / "one", "--layout", "packed", "--shuffle")
    assert contents(tmp_path / "one") == contents(tmp_path / "two")
    assert call("inspect", tmp_path / "one", "--quiet").status == 0
    words = ("--input_folder", source, "--save_folder", tmp_path / "one", *SMALL, "--layout", "packed", "--quiet")
    assert "has shuffle True" in refusal_of(TOOL, *words)
    assert "has seed 0" in refusal_of(TOOL, *words, "--shuffle", "--seed", "1")


@pytest.mark.parametrize(("layout", "kind"), [("packed", "tar"), ("parquet", "parquet")])
def test_S21_a_card_names_the_shards_so_that_datasets_finds_them_and_a_user_s_own_is_kept(layout, kind, tmp_path):
    source = make_photos(tmp_path / "in", 2)
    results = extract(source, tmp_path / "out", "--layout", layout)
    card = tmp_path / "out/README.md"
    _, head, _ = card.read_text().split("---\n")
    assert yaml.safe_load(head) == {"configs": [{"config_name": "default", "data_files": f"shard-*.{kind}"}]}
    card.write_text("my card")
    assert extract(source, tmp_path / "out", "--layout", layout)["tiles"] == results["tiles"]
    assert card.read_text() == "my card"


def test_S15_references_in_a_tar_bear_names_that_webdataset_and_datasets_pass_over(tmp_path):
    extract(make_photos(tmp_path / "in", 2), tmp_path / "out", "--layout", "packed")
    with tarfile.open(tmp_path / "out/shard-000000.tar") as archive:
        names = [name for name in archive.getnames() if "ref.jpg" in name]
    assert names == ["__references__/a_left/__ref.jpg", "__references__/b_left/__ref.jpg"]
    (tmp_path / "out/shard-000000.jsonl").unlink()  # also found by the names alone
    block = {"mode": "single_image_extensible", "target_size": 32, "scale": 1, "need_ref": True}
    with pytest.warns(UserWarning, match="no .jsonl beside it"):
        dataset = create_dataset({**block, "paths": str(tmp_path / "out")})
    assert float(dataset[0]["gt_fullsize_ref"][:3].max()) > 0
