"""A folder of a thousand runs: quick, small, thumbnails."""

import json
import time

import numpy as np
import pytest
from PIL import Image

from tests.tools.report.folders import Page, report, write_run

SECONDS, BYTES = 5, 10_000_000


@pytest.mark.long
@pytest.mark.parametrize("side", [64, 512])
def test_a_thousand_runs_make_a_small_page_in_seconds(tmp_path, side):
    generator = np.random.default_rng(0)
    options = {f"option_{number}": number for number in range(40)}
    for number in range(1000):
        place = tmp_path / f"run_{number:04}"
        figures = [{"name": "loss", "value": 1 / (number + 1), "se": 0.01, "unit": "", "better": "lower"}]
        summary = {"title": "a thousand", "rank": "measurement", "sentence": "", "pictures": [["*.png", "samples"]],
                   "rows": [{"name": "", "figures": figures}]}
        write_run(place, options={**options, "seed": number}, results={"loss": 1 / (number + 1)}, summary=summary,
                  words=["--seed", str(number)], inputs=[{"name": "data", "bytes": number, "sha256": f"{number:064}"}])
        (place / "log.jsonl").write_text("".join(json.dumps({"step": step, "loss": step}) + "\n" for step in range(50)))
        pixels = generator.integers(0, 256, (side // 8, side // 8, 3), np.uint8).repeat(8, 0).repeat(8, 1)
        Image.fromarray(pixels).save(place / "samples.png", compress_level=1)
    began = time.process_time()
    ended = report(tmp_path, "--json", "--quiet")
    seconds = time.process_time() - began
    assert ended.status == 0, ended.err
    page = Page((tmp_path / "report.html").read_text())
    size = ended.results["page_bytes"]
    print(f"{side} px: {seconds:.1f} s, {size / 1e6:.1f} MB, {page.source.count('<img')} pictures")
    assert seconds < SECONDS
    assert size < BYTES
    assert ended.results["runs"] == 1000
    assert 100 <= page.source.count("<img") <= 500
    assert all(int(image["width"]) <= 320 for image in page.attributes("img")[1:])
