"""compute_fid pairs: the images of two sets that have the same names."""

import csv
import json

import numpy as np
import pytest
import torch
from PIL import Image

from common.metrics.image_pairs import luma, psnr, ssim
from tests.common.metrics.pictures import picture, write_zip
from tests.common.metrics.test_image_pairs import noisy
from tests.common.torchvision_guard import import_torchvision
from tests.tools.commands import call_tool, refusal_of, results_of, torchrun_tool

SIZES = [(40, 48)] * 3 + [(36, 40), (40, 48)]


@pytest.fixture
def sets(here):
    """Five originals and their noisy versions, as [(name, original, restored)]."""
    found = []
    for number, size in enumerate(SIZES):
        image = picture(number, size)
        found.append((f"{'ab'[number % 2]}/{number}", image, noisy(image, number, 4 + 5 * number)))
        for folder, pixels in (("good", image), ("restored", found[-1][2])):
            path = here / folder / f"{found[-1][0]}.{'png' if folder == 'good' else 'bmp'}"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels).save(path)
    return sorted(found)


def run(*words):
    return results_of("compute_fid", "pairs", *words, "--device", "cpu")


def test_means_and_deviations_are_those_of_the_pairs(sets):
    """The names go together without their endings."""
    results = run("restored", "good", "--output_dir", "out")
    for name, measure in (("psnr", psnr), ("ssim", ssim)):
        values = [measure(restored, good) for _, good, restored in sets]
        assert results[name] == pytest.approx(np.mean(values), rel=1e-9)
        assert results[f"{name}_std"] == pytest.approx(np.std(values, ddof=1), rel=1e-9)
        assert results[f"{name}_se"] == pytest.approx(np.std(values, ddof=1) / 5**0.5, rel=1e-9)
    assert (results["num_pairs"], results["excluded"], results["num_equal"], results["notes"]) == (5, 0, 0, [])
    with open("out/pairs.csv", newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert [row["name"] for row in rows] == [name for name, *_ in sets]
    assert float(rows[2]["psnr"]) == pytest.approx(psnr(sets[2][1], sets[2][2]), rel=1e-6)
    with open("out/run.json") as stream:
        assert json.load(stream)["results"]["ssim"] == results["ssim"]
    assert "up to date" in call_tool("compute_fid", "pairs", "restored", "good", "--output_dir", "out", "--device",
                                     "cpu").err


@pytest.mark.parametrize(("words", "change"), [
    (("--y_channel",), luma), (("--crop_border", "4"), lambda image: image[4:-4, 4:-4]),
    (("--y_channel", "--crop_border", "3"), lambda image: luma(image[3:-3, 3:-3])),
])
def test_luma_and_border_are_basicsrs(sets, words, change):
    results = run("restored", "good", *words)
    for name, measure in (("psnr", psnr), ("ssim", ssim)):
        expected = np.mean([measure(change(restored), change(good)) for _, good, restored in sets])
        assert results[name] == pytest.approx(expected, rel=1e-9)


@pytest.mark.filterwarnings("ignore::UserWarning")  # torchvision's, of the way lpips calls it
@pytest.mark.parametrize("net", ["alex", pytest.param("vgg", marks=pytest.mark.long)])
def test_lpips_is_the_packages(sets, net):
    import_torchvision()
    import lpips

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        theirs = lpips.LPIPS(net=net, pnet_rand=True, verbose=False).eval()
    torch.save({f"features.{name.split('.', 1)[1]}": tensor for name, tensor in theirs.net.state_dict().items()},
               "backbone.pth")

    def of(image):
        return torch.from_numpy(image.copy()).permute(2, 0, 1)[None] / 127.5 - 1

    with torch.no_grad():
        expected = np.mean([float(theirs(of(restored), of(good))) for _, good, restored in sets])
    for size in ("1", "3"):
        results = run("restored", "good", "--metrics", "lpips,psnr", "--lpips_weights", "backbone.pth", "-bs", size)
        assert results["lpips"] == pytest.approx(expected, rel=1e-4)
    assert results["lpips_net"] == net
    assert "ssim" not in results


@pytest.mark.long
def test_archives_arrays_and_processes_give_the_same(here, sets):
    expected = run("restored", "good")
    write_zip(here / "good.zip", here / "good")
    assert run("restored", "good.zip")["ssim"] == pytest.approx(expected["ssim"], rel=1e-12)
    for which, folder in ((1, "good"), (2, "restored")):
        np.save(here / f"{folder}.npy", np.stack([entry[which] for entry in sets if entry[1].shape[0] == 40]))
        (here / f"{folder}.txt").write_text("".join(f"{path}\n" for path in sorted((here / folder).rglob("*.*"))))
    assert run("restored.npy", "good.npy")["num_pairs"] == 4
    assert run("restored.txt", "good.txt")["psnr"] == pytest.approx(expected["psnr"], rel=1e-12)
    ended = torchrun_tool(2, "compute_fid", "pairs", "restored", "good", "--device", "cpu", "--json", "--quiet")
    assert ended.status == 0, ended.err
    assert ended.results["psnr"] == pytest.approx(expected["psnr"], rel=1e-12)


def test_equal_pairs_are_counted_and_not_in_the_mean_of_psnr(here, sets):
    path = here / "restored" / f"{sets[0][0]}.bmp"
    Image.fromarray(sets[0][1]).save(path)
    results = run("restored", "good")
    assert results["num_equal"] == 1
    assert results["psnr"] == pytest.approx(np.mean([psnr(restored, good) for _, good, restored in sets[1:]]), rel=1e-9)
    assert any("1 equal pair left out of the mean" in note for note in results["notes"])
    alone = run("good", "good", "--output_dir", "out")
    assert "PSNR (dB),inf,," in (here / "out" / "table.csv").read_text()
    assert (alone["psnr"], alone["num_equal"], alone["ssim"]) == (None, 5, pytest.approx(1))


def test_images_without_a_partner_are_refused_or_left_out(here, sets):
    (here / "restored" / f"{sets[0][0]}.bmp").unlink()
    line = refusal_of("compute_fid", "pairs", "restored", "good", "--quiet")
    assert f"1 image without a partner of equal name, the first is '{sets[0][0]}'" in line
    results = run("restored", "good", "--common")
    assert results["num_pairs"] == 4
    assert "left out" in results["notes"][0]


def test_a_pair_that_cannot_be_read_is_named_and_counted(here, sets):
    (here / "restored" / f"{sets[1][0]}.bmp").write_bytes(b"BM no picture")
    results = run("restored", "good")
    assert (results["num_pairs"], results["excluded"]) == (4, 1)
    assert sets[1][0] in results["notes"][0]


@pytest.mark.parametrize(("words", "line"), [
    (("restored",), "SECOND: missing required flag"),
    (("restored", "good", "--metrics", "lpips"), "--metrics lpips: needs --lpips_weights"),
    (("restored", "good", "--lpips_weights", "x.pth"), "--lpips_weights: acts on the metric lpips"),
    (("restored", "good", "--metrics", "fid"), "--metrics: unknown metric 'fid'"),
    (("restored", "good", "--crop_border", "20"), "error: --crop_border 20: nothing is left"),
    (("restored", "good", "--crop_border", "15"), "pixels are less than SSIM's window of 11"),
    (("restored", "images.npy"), "one has names, the other rows"),
    (("one", "good", "--common"), "1 image without a partner"),
    (("wrong", "good", "--common"), "its images are 30 x 30 and 48 x 40 pixels"),
    (("double", "good", "--common"), "two images are called 'a/0' but for their ending"),
])
def test_what_makes_no_pairs_is_one_line(here, sets, words, line):
    np.save(here / "images.npy", np.stack([sets[0][1]]))
    for name in ("one/other.png", "wrong/a/0.png", "double/a/0.png", "double/a/0.jpg"):
        (here / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(picture(1, (30, 30))).save(here / name)
    assert line in refusal_of("compute_fid", "pairs", *words, "--quiet", "--device", "cpu")
