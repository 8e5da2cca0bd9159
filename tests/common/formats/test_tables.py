"""Tables: no cell is a formula for a spreadsheet, and what we wrote comes back (R8)."""

import ast
import csv

import numpy as np
import pytest

from common.errors import InputError
from common.formats.tables import cell_text, read_records, read_table, write_table
from tests.test_layout import nodes, sources
from tests.tools.commands import results_of
from tests.tools.extract_subimages.photos import TOOL, make_photos
from tools.process_embeddings.write import write_table as write_map

FORMULAS = ["=1+1", "+cmd|' /C calc'!A0", "-2+3", "@SUM(A1)", "\t=1", "\r=1", "=HYPERLINK(\"http://x\",\"y\")", "-",
            "+a.png", "-1_000", "'=1", "''+x"]
PLAIN = ["a", "", "a=1", "-1.5", "+3", "-.5e-7", "1e5", "-inf", "nan", "'quoted'", "a,b", 'a"b', "a\nb", " =1", "漢"]


@pytest.mark.parametrize("text", FORMULAS)
def test_R8_a_cell_that_begins_as_a_formula_is_marked_as_text(text):
    assert cell_text(text) == f"'{text}"


@pytest.mark.parametrize("value", [*PLAIN, -1.5, -3, 7, float("-inf")])
def test_R8_numbers_and_other_text_stay_as_they_are(value):
    assert cell_text(value) == str(value)


def test_R8_tables_come_back_as_they_were(tmp_path):
    rows = [[text, "x"] for text in FORMULAS + PLAIN]
    write_table(tmp_path / "a.csv", ["=name", "other"], rows)
    assert read_table(tmp_path / "a.csv") == [["=name", "other"], *rows]
    assert read_records(tmp_path / "a.csv")[1][0] == {"=name": "=1+1", "other": "x"}


def test_R8_names_that_are_no_unicode_do_not_end_a_table(tmp_path):
    write_table(tmp_path / "a.csv", None, [["a\udcff.png"]])
    assert (tmp_path / "a.csv").read_bytes() == b"a\\udcff.png\n"


@pytest.mark.parametrize(("text", "said"), [
    ("image,a,b,a\nx,1,0,1\n", "two columns are called 'a'"),
    ("image,a\nx,1\ny, z,1\n", "row 2 has 3 cells, the header 2")])
def test_columns_of_one_name_and_rows_with_too_many_cells_are_refused(text, said, tmp_path):
    (tmp_path / "a.csv").write_text(text)
    with pytest.raises(InputError, match=said):
        read_records(tmp_path / "a.csv")


def test_empty_cells_at_the_end_as_of_spreadsheets_do_not_count(tmp_path):
    (tmp_path / "a.csv").write_text("image,a,,\nx,1,,\ny,0\n,,,,,,\n")
    columns, records = read_records(tmp_path / "a.csv")
    assert columns == ["image", "a", "", ""]
    assert [(record["image"], record["a"]) for record in records] == [("x", "1"), ("y", "0")]


@pytest.mark.parametrize("data", [b"\xff\xfe", b'"' + b"x" * 200_000])
def test_R5_what_is_no_table_is_named(data, tmp_path):
    (tmp_path / "a.csv").write_bytes(data)
    with pytest.raises(InputError, match="a.csv: not a table in UTF-8"):
        read_table(tmp_path / "a.csv")


def test_R8_every_tool_writes_its_tables_so(tmp_path):
    write_map(tmp_path / "map.csv", [{"class_name": "=1+1", "original_path": "-a.png"}], np.array([[-1.5, 2.0]]))
    assert (tmp_path / "map.csv").read_text().splitlines()[1] == "'=1+1,'-a.png,-1.5,2.0"
    make_photos(tmp_path / "in", 1)
    (tmp_path / "in" / "=broken.png").write_bytes(b"\x89PNG")
    results_of(TOOL, "--input_folder", tmp_path / "in", "--save_folder", tmp_path / "out", "--crop_sz", "64", "--step",
               "64", "--resize_final_img", "0.5", "--min_size", "64")
    with open(tmp_path / "out" / "skipped.csv", newline="") as stream:
        assert list(csv.reader(stream))[1][0] == "'=broken.png"


def test_R8_no_tool_writes_a_table_by_itself():
    for path, tree in sources("common", "tools", having=r"\bcsv\b"):
        if path.name != "tables.py":
            named = {node.attr for node in nodes(tree) if isinstance(node, ast.Attribute)
                     and isinstance(node.value, ast.Name) and node.value.id == "csv"}
            assert not named, f"{path} reads or writes CSV without common.formats.tables"
