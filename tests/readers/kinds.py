"""Every kind of file that a command reads: how to make a small one, and how the commands read it."""

import gzip
import io
import json
import pickle
import tarfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from tests.readers.damage import (
    configuration,
    hyper_parameters,
    mutate,
    mutate_json,
    npy_head,
    safetensors_head,
    torch_values,
    within,
)
from tests.readers.interval_kinds import INTERVAL_KINDS

SIDE = 16


@dataclass
class Kind:
    """make(folder) writes a whole set of files and returns the path of the one that is damaged; read(path) reads it."""

    make: object
    read: object
    damage: object = mutate


def pixels(count=4, side=SIDE):
    return np.random.default_rng(0).integers(0, 256, (count, side, side, 3), np.uint8)


def picture(form, **more):
    stream = io.BytesIO()
    Image.fromarray(pixels(1, 24)[0]).save(stream, form, **more)
    return stream.getvalue()


def write(name, data):
    """Return a maker of one file of these bytes (or of what a function gives)."""
    def make(folder):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data() if callable(data) else data)
        return path

    return make


def every_image(path):
    """Read an image as each of the readers does."""
    from common.features.sources import open_images
    from common.images.decode import decode, read_header
    from common.images.network_size import decode_image
    from common.images.opencv import decode_rgb
    from common.images.photos import SkippedPhoto
    from tools.extract_subimages.pixels import decode_quietly, header
    from tools.report.pictures import CARD, read_picture

    data = path.read_bytes()
    yield lambda: decode(data, path)
    yield lambda: decode_image(data, path)
    yield lambda: decode_rgb(data, path, photo=True)
    yield lambda: header(path)
    yield lambda: read_picture(path, *CARD)
    yield lambda: open_images(path.parent).load(0)
    with path.open("rb") as stream:
        yield lambda: read_header(stream, path)
    for options in ({}, {"original": True}, {"keep_alpha": True, "eight_bits": False}):
        try:
            decode_quietly(data, **options)
        except SkippedPhoto as error:
            assert "\n" not in error.detail  # noqa: PT017 - a photo may as well be readable


def image_set(path):
    """Read a folder, zip or array of images as trainings and scores do."""
    from common.datasets import open_dataset
    from common.features.sources import open_images

    def as_set():
        images = open_dataset(path, "train")
        images.read(np.arange(len(images)))
        images.fingerprint()

    yield as_set
    yield lambda: [open_images(path).load(index) for index in range(2)]


def npz_rows(path):
    from common.features.statistics import read_statistics
    from common.files import read_npz
    from common.formats.npz import NpzRows, iterate_npz_rows

    yield lambda: read_npz(path)
    yield lambda: list(iterate_npz_rows(path, "images"))
    yield lambda: NpzRows(path, "images")[0:3]
    yield lambda: read_statistics(path)
    yield from image_set(path)


def npz(save):
    return lambda folder: save(folder / "a.npz", images=pixels(), labels=np.arange(4)) or folder / "a.npz"


def statistics(folder):
    np.savez(folder / "s.npz", mu=np.zeros(8), sigma=np.eye(8), feats=np.eye(8, dtype=np.float32))
    return folder / "s.npz"


def npy(folder):
    np.save(folder / "a.npy", pixels())
    return folder / "a.npy"


def npy_rows(path):
    from common.formats.rows import FileRows

    yield lambda: FileRows(path)[0:2]
    yield from image_set(path)


def zip_of_images(folder):
    import zipfile

    with zipfile.ZipFile(folder / "a.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        for number in range(4):
            archive.writestr(f"class{number % 2}/{number}.png", picture("PNG"))
        archive.writestr("dataset.json", json.dumps({"labels": [["class0/0.png", 1]]}))
    return folder / "a.zip"


def tree(path):
    from common.datasets.imagenet.tree import ImageTree

    def read():
        images = ImageTree(path, None, "any")
        for number in range(len(images)):
            images.load(number)
        images.identity()

    yield read
    yield from image_set(path)


def batch(folder):
    np.savez(folder / "train_data_batch_1.npz", data=pixels(4, 8).reshape(4, -1), labels=np.arange(1, 5))
    return folder / "train_data_batch_1.npz"


def batches(path):
    from common.datasets.imagenet.npz_batches import open_npz_batches

    def read():
        with open_npz_batches(path.parent) as images:
            images.read(np.arange(len(images)))

    yield read


def cifar_batch(folder):
    from tests.common.datasets.makers import planes

    data = pickle.dumps({"data": planes(pixels(3, 32)), "labels": [1, 2, 3]}, protocol=2)
    return write("cifar-10-batches-py/test_batch", data)(folder)


def cifar_archive(folder):
    cifar_batch(folder)
    with tarfile.open(folder / "cifar-10-python.tar.gz", "w:gz") as archive:
        archive.add(folder / "cifar-10-batches-py", "cifar-10-batches-py")
    return folder / "cifar-10-python.tar.gz"


def cifar(path):
    from common.datasets.sets.cifar import CifarFiles, open_cifar

    place = path if path.name.endswith(".gz") else path.parent
    yield lambda: open_cifar("cifar10", "test", CifarFiles("cifar-10-batches-py", place))


def idx(folder, pack=gzip.compress):
    head = bytes([0, 0, 8, 3]) + b"".join(number.to_bytes(4, "big") for number in (3, 28, 28))
    ending = ".gz" if pack is gzip.compress else ""
    write(f"t10k-labels-idx1-ubyte{ending}", pack(bytes([0, 0, 8, 1, 0, 0, 0, 3, 1, 2, 3])))(folder)
    return write(f"t10k-images-idx3-ubyte{ending}", pack(head + bytes(3 * 784)))(folder)


def mnist(path):
    from common.datasets.sets.mnist import read_mnist

    yield lambda: read_mnist("mnist", "test", path.parent)


def matlab(folder):
    from scipy.io import savemat

    savemat(folder / "test_32x32.mat", {"X": pixels(3, 32).transpose(1, 2, 3, 0), "y": [[1], [2], [10]]},
            do_compression=True)
    return folder / "test_32x32.mat"


def svhn(path):
    from common.datasets.sets.svhn import open_svhn

    yield lambda: open_svhn("test", path)


def records(folder):
    from tests.common.datasets.makers import example, tfrecord

    path = write("cifar10/3.0.2/cifar10-test.tfrecord-00000-of-00001", b"")(folder)
    tfrecord(path, [example(image=picture("PNG"), label=2, id=b"a") for _ in range(3)])
    write("cifar10/3.0.2/dataset_info.json", json.dumps({"splits": [{"name": "test", "shardLengths": ["3"]}]}).encode(),
          )(folder)
    return path


def tfds_info(folder):
    return records(folder).parent / "dataset_info.json"


def tfds(path):
    from common.datasets.sets.tfds import find_tfds, open_tfds

    def read():
        images = open_tfds("cifar10", "test", find_tfds("cifar10", "test", [path.parents[2]]))
        images.read([0, 2])

    yield read


def lmdb_file(folder):
    import lmdb

    with lmdb.open(str(folder / "set"), map_size=1 << 20) as base, base.begin(write=True) as writer:
        for key, value in {"images_shape": b"3 3 4 4", "labels_shape": b"3"}.items():
            writer.put(key.encode(), value)
        for number, image in enumerate(pixels(3, 4)):
            writer.put(f"images_{number}_data".encode(), image.tobytes())
            writer.put(f"labels_{number}_data".encode(), np.int64(number).tobytes())
    return folder / "set" / "data.mdb"


def lmdb_images(path):
    from common.datasets.imagenet.lmdb import LmdbImages

    yield lambda: LmdbImages(path.parent).read([0, 1, 2])


def chunked(maker, name):
    def make(folder):
        from tests.common.datasets.dlas.chunked import makers

        options = {"index": False} if maker == "make_tar" and name.endswith(".tar") else {}
        getattr(makers, maker)(folder / "set", **options)
        return folder / "set" / name

    return make


def chunks(path):
    """Read a chunked data set, and look it over."""
    from common.datasets.dlas.options import create_dataset
    from tests.common.datasets.dlas.chunked.makers import options_for
    from tests.tools.commands import call_tool

    root = path.parent if path.name.startswith("shard") else path.parents[1]

    def read():
        dataset = create_dataset(options_for(root, need_ref=True, needs_metadata=True))
        for index in range(len(dataset)):
            dataset[index]

    def look():
        ended = call_tool("extract_subimages", "inspect", root, "--preview", "0")
        assert ended.status in (0, 2), ended.err
        assert "Traceback" not in ended.err

    yield read
    yield look


def torch_file(folder, old=False):
    import torch

    from common.score.config import override, preset
    from common.score.models import build_network, trainable

    config = override(preset("u_digits"), ["model.nf=4", "model.attn_resolutions=99", "sampling.num_steps=3"])
    network = build_network(config)
    state = {f"module.{name}": value for name, value in network.state_dict().items()}
    shadow = [value.detach() for _, value in trainable(network)]
    value = {"model": state, "ema": {"decay": 0.9, "num_updates": 1, "shadow_params": shadow},
             "optimizer": {}, "step": 3, "genprobe": json.dumps({"config": config})}
    torch.save(value, folder / "a.pth", _use_new_zipfile_serialization=not old)
    return folder / "a.pth"


def checkpoint(path):
    from common.generators import open_generator
    from common.networks.adm_weights import load_adm
    from common.networks.inception_weights import load_inception_state
    from common.score.models import LoadedModel, read_checkpoint

    yield lambda: read_checkpoint(path)
    yield lambda: LoadedModel(path, None, "raw")
    yield lambda: open_generator(path).generate([0], 0)
    yield lambda: load_adm(path)
    yield lambda: load_inception_state(path)


def decision_model(folder):
    from common.networks.decision import write_decision_model
    from common.networks.decision_networks import DecisionConfig, build_decision_model

    network = build_decision_model(DecisionConfig("small", ("a", "b"), (8, 8), width=2))
    write_decision_model(folder / "checkpoint.tar", network, 1, 0.5, {"state": {}, "param_groups": []})
    return folder / "checkpoint.tar"


def decisions(path):
    from common.networks.decision import load_imagenet, open_decision_model
    from common.networks.decision_networks import DecisionConfig, build_decision_model

    yield lambda: open_decision_model(path)
    yield lambda: load_imagenet(build_decision_model(DecisionConfig("resnet18", ("a", "b"))), path)


def bddoia(name):
    """Return a maker of a BDD-OIA whose file of this name is damaged."""
    def make(folder):
        from tests.tools.train_decision_model.runs import write_bddoia

        write_bddoia(folder)
        return folder / name

    return make


def labels(path):
    from tools.train_decision_model.bddoia import open_bddoia

    yield lambda: open_bddoia(path.parent, with_reasons=True)


def attributes(path):
    """Read a table as one of images and attributes."""
    from tools.train_decision_model.__main__ import DecisionOptions
    from tools.train_decision_model.tables import open_table

    yield lambda: open_table(DecisionOptions(csv=str(path)))


def safetensors(folder):
    from tests.tools.activation_networks import save_network

    save_network(folder / "a.safetensors")
    return folder / "a.safetensors"


def network_pickle(folder):
    from tests.common.networks.adm_makers import small_network
    from tests.common.networks.edm_pickles import arguments, dump, saved

    network = small_network()
    return write("a.pkl", dump({"ema": saved(network, kwargs=arguments(network))}))(folder)


def edm(path):
    from common.features.statistics import read_statistics
    from common.formats.pickles import read_pickle
    from common.networks.adm_weights import load_adm

    yield lambda: load_adm(path)
    yield lambda: read_pickle(path)
    yield lambda: read_statistics(path)


def lightning(folder):
    import torch

    torch.save({"state_dict": {"a.weight": torch.ones(2, 3)}, "hyper_parameters": {"dim": 3, "lr": 0.1}, "epoch": 3},
               folder / "a.ckpt")
    return folder / "a.ckpt"


def lightning_file(path):
    from common.formats.lightning import load_lightning
    from common.networks.adm_weights import load_adm

    yield lambda: load_lightning(path)
    yield lambda: load_adm(path)


def blobgan(name):
    """Return a maker of a small BlobGAN's file, the whole container or the averaged pair."""
    def make(folder):
        from common.networks.blobgan.files import write_checkpoint, write_pair
        from tests.common.networks.blobgan.makers import networks, small

        made = networks(small())
        if name.endswith(".ckpt"):
            write_checkpoint(folder / name, small(), made, [{"state": {}, "param_groups": []}] * 2, 1, 20)
        else:
            write_pair(folder / name, small(), made["generator_ema"], made["layout_net_ema"])
        return folder / name

    return make


def blobgan_file(path):
    from common.networks.blobgan.files import read_blobgan

    yield lambda: read_blobgan(path)
    yield lambda: read_blobgan(path, weights="raw")


def program(maker):
    def make(folder):
        from tests.common import programs

        return getattr(programs, maker)(folder / "a.pt", programs.Small())

    return make


def generator(path):
    from common.formats.torchscript import is_torchscript, load_torchscript
    from common.generators import open_generator

    yield lambda: open_generator(path).generate([0, 1], 0)
    yield lambda: is_torchscript(path) and load_torchscript(path)


def generator_blobgan(folder):
    from tests.tools.blobgan_networks import save_blobgan

    return save_blobgan(folder / "a.ckpt")


def layout_encoder(folder):
    from common.networks.blobgan.encoder_files import EncoderConfig, write_encoder

    rule = {"height": 16, "width": 32, "fit": "squash", "filter": "lanczos"}
    config = EncoderConfig(16, 2, 12, channels=(4, 4, 4), transform=rule)
    write_encoder(folder / "best.pt", config, config.build().state_dict(), {}, {"last_epoch": 3}, 3)
    return folder / "best.pt"


def layout_encoders(path):
    from common.networks.blobgan.encoder_files import read_encoder

    yield lambda: read_encoder(path)


def layout(folder):
    import torch

    from common.networks.blobgan.files import read_blobgan
    from common.networks.blobgan.layout_files import StoredLayout, write_layout

    blobs = read_blobgan(generator_blobgan(folder)).layouts(torch.ones(1, 8))
    write_layout(folder / "0000.npz", StoredLayout("0000", blobs, (0, 0)))
    return folder / "0000.npz"


def inversions(folder):
    import torch

    from common.networks.blobgan.layout_files import read_layouts

    blobs = read_layouts(layout(folder))[0].blobs._asdict()
    torch.save({"blob_optim": blobs, "image_names": ["a.jpg"]}, folder / "metadata_0.pt")
    return folder / "metadata_0.pt"


def layouts(path):
    from common.blobs.metadata import read_inversions, read_marks, read_metadata
    from common.networks.blobgan.layout_files import read_layouts

    yield lambda: read_layouts(path)
    if path.suffix == ".pt":
        yield lambda: (read_metadata(path), read_inversions(path), read_marks(path))


def settings(path):
    from common.datasets.dlas.options import create_dataset, load_options
    from tools.extract_subimages.options import read_options

    yield lambda: [create_dataset(block) for block in load_options(path).values()]
    yield lambda: read_options(path)


YAML = b"""scale: 2
datasets:
  train:
    mode: imagefolder
    paths: [no]
    weights: [1]
    target_size: 32
    fixed_corruptions: [jpeg-broad, gaussian_blur]
    num_corrupts_per_image: 1
    random_corruptions: &a [noise-5, none]
    nested: {again: *a, number: 1e-3}
"""


def activation_set(folder):
    from tests.tools.process_embeddings.trees import clusters, write_tree

    layers, labels, _ = clusters(12, 3, 0)
    write_tree(folder, "imagenet_real", layers, labels, ["a", "b", "c"])
    return folder


def dataset_info(folder):
    return activation_set(folder) / "metadata" / "imagenet_real" / "dataset_info.json"


def activation_batch(folder):
    return activation_set(folder) / "activations" / "imagenet_real" / "batch_000000.npz"


def flat_description(folder):
    root = activation_set(folder) / "activations" / "imagenet_real"
    (root / "batch_000000.npz").unlink()
    np.save(root / "flat.npy", np.ones((12, 24), np.float32))
    return write("flat.npy.json", json.dumps({"layers": ["a", "b"], "shapes": {"a": [2, 4], "b": [16]}}).encode())(root)


def activations(path):
    from common.activations.read import open_activations
    from tests.tools.commands import call_tool
    from tools.process_embeddings.read import open_set

    root = next(parent for parent in path.parents if (parent / "metadata").is_dir())

    def command():
        ended = call_tool("process_embeddings", "--data_dir", root, "--model", "imagenet_real", "--dry_run")
        assert ended.status in (0, 2), ended.err

    yield lambda: open_activations(root, "imagenet_real").rows()[0:12]
    yield lambda: open_set("imagenet_real", root)
    yield command


def table(path):
    """Read a table as scores and as a report does."""
    from tools.extract_real_imagenet.scoring import read_scores
    from tools.report.find import read_table

    class Source:
        def __len__(self):
            return 3

        def title(self, number):
            return f"npz_sample_{number}"

    yield lambda: read_scores(path, "score", Source())
    yield lambda: read_table(path)
    yield from reported(path)


def reported(path):
    """Draw a report of the folder that the file lies in."""
    from tests.tools.commands import call_tool

    def command():
        ended = call_tool("report", path.parent, "--output", path.parent / "page" / "report.html", "--overwrite")
        assert ended.status in (0, 2), ended.err

    yield command


SUMMARY = {"title": "Loss", "rank": "measurement", "sentence": "", "pictures": [["*.png", "samples"]], "rows": [
    {"name": "", "figures": [{"name": "loss", "value": 0.5, "se": 0.1, "unit": "nats", "better": "lower"}]}]}


def run_record(folder):
    record = {"status": "done", "tool": "qc_ncsn", "command": "qc_ncsn train", "options": {"seed": 1, "json": False},
              "results": {"loss": 0.5, "rows": [1, 2]}, "outputs": ["a.csv"], "files": ["a.csv"], "owns": ["a.csv"],
              "seconds": 3, "versions": {"torch": "2"}, "machine": {"cpu": "x"}, "derived": {}, "sizes": {"a.csv": 4},
              "request": {"seed": 1}, "stamps": {"in": [1, 2, 3]}, "inputs": [{"name": "x", "bytes": 3}],
              "words": ["--seed", "1"], "summary": SUMMARY}
    (folder / "a.csv").write_text("a,b\n")
    return write("run.json", json.dumps(record).encode())(folder)


def recorded(path):
    from common.options import CommonOptions
    from common.record import quick_answer, read_record

    yield lambda: read_record(path)
    yield lambda: quick_answer(path.parent, "qc_ncsn train", CommonOptions())
    yield from reported(path)


def log(path):
    from common.training.log import read_log

    yield lambda: read_log(path)
    yield from reported(path)


LOG = "".join(json.dumps({"step": step, "loss": 1 / (step + 1), "seconds": step}) + "\n" for step in range(20)).encode()

KINDS = {
    "npz stored": Kind(npz(np.savez), npz_rows),
    "npz deflated": Kind(npz(np.savez_compressed), npz_rows),
    "npz of statistics": Kind(statistics, npz_rows),
    "npz batch of ImageNet": Kind(batch, batches),
    "npz of activations": Kind(activation_batch, activations),
    "npy": Kind(npy, npy_rows),
    "npy header": Kind(npy, npy_rows, npy_head),
    "npz header": Kind(npz(np.savez_compressed), npz_rows, within("images.npy", npy_head)),
    "npz header of activations": Kind(activation_batch, activations, within(".npy", npy_head)),
    "zip of images": Kind(zip_of_images, tree),
    "json summary": Kind(write("summary.json", json.dumps(SUMMARY).encode()), reported, mutate_json),
    "json record": Kind(run_record, recorded, mutate_json),
    "json of activations": Kind(dataset_info, activations, mutate_json),
    "json of flat activations": Kind(flat_description, activations, mutate_json),
    "json of tfds": Kind(tfds_info, tfds, mutate_json),
    "jsonl log": Kind(write("log.jsonl", LOG), log, mutate_json),
    "jsonl geometry": Kind(chunked("make_virtual", "a_left/geometry.jsonl"), chunks, mutate_json),
    "jsonl of a shard": Kind(chunked("make_tar", "shard-000000.jsonl"), chunks, mutate_json),
    "yaml": Kind(write("a.yml", YAML), settings),
    "csv": Kind(write("a.csv", b"index,original_path,score\n0,npz_sample_0,1.5\n1,\"a\nb\",-2\n"), table),
    "png": Kind(write("a.png", lambda: picture("PNG")), every_image),
    "jpeg": Kind(write("a.jpg", lambda: picture("JPEG", progressive=True)), every_image),
    "webp": Kind(write("a.webp", lambda: picture("WEBP")), every_image),
    "tiff": Kind(write("a.tif", lambda: picture("TIFF", compression="tiff_lzw")), every_image),
    "tiff plain": Kind(write("a.tif", lambda: picture("TIFF")), every_image),
    "avif": Kind(write("a.avif", lambda: picture("AVIF")), every_image),
    "bmp": Kind(write("a.bmp", lambda: picture("BMP")), every_image),
    "ppm": Kind(write("a.ppm", lambda: picture("PPM")), every_image),
    "tar.gz": Kind(cifar_archive, cifar),
    "tar shard": Kind(chunked("make_tar", "shard-000000.tar"), chunks),
    "parquet": Kind(chunked("make_parquet", "shard-000000.parquet"), chunks),
    "centers.pt": Kind(chunked("make_folders", "a_left_0/centers.pt"), chunks),
    "lmdb": Kind(lmdb_file, lmdb_images),
    "tfrecord": Kind(records, tfds),
    "idx": Kind(lambda folder: idx(folder, bytes), mnist),
    "idx gzipped": Kind(idx, mnist),
    "mat": Kind(matlab, svhn),
    "safetensors": Kind(safetensors, checkpoint),
    "safetensors header": Kind(safetensors, checkpoint, safetensors_head),
    "pth zip": Kind(torch_file, checkpoint),
    "pth inside": Kind(torch_file, checkpoint, within("data.pkl")),
    "pth configuration": Kind(torch_file, checkpoint, configuration),
    "pth old": Kind(lambda folder: torch_file(folder, old=True), checkpoint),
    "decision model": Kind(decision_model, decisions),
    "decision model inside": Kind(decision_model, decisions, within("data.pkl")),
    "json of actions": Kind(bddoia("train_25k_images_actions.json"), labels, mutate_json),
    "json of reasons": Kind(bddoia("val_25k_images_reasons.json"), labels, mutate_json),
    "csv of attributes": Kind(write("truth.csv", b"file,a,b,split\n1.png,0,1,train\n2.png,1,0,val\n"), attributes),
    "pickle of images": Kind(cifar_batch, cifar),
    "pickle of a network": Kind(network_pickle, edm),
    "lightning": Kind(lightning, lightning_file),
    "generator BlobGAN": Kind(generator_blobgan, generator),
    "generator BlobGAN inside": Kind(generator_blobgan, generator, within("data.pkl")),
    "encoder of layouts": Kind(layout_encoder, layout_encoders),
    "encoder of layouts inside": Kind(layout_encoder, layout_encoders, within("data.pkl")),
    "layout": Kind(layout, layouts),
    "layouts of counterfactuals": Kind(inversions, layouts),
    "layouts of counterfactuals inside": Kind(inversions, layouts, within("data.pkl")),
    "blobgan": Kind(blobgan("a.ckpt"), blobgan_file),
    "blobgan inside": Kind(blobgan("a.ckpt"), blobgan_file, within("data.pkl")),
    "blobgan hyper-parameters": Kind(blobgan("a.ckpt"), blobgan_file, hyper_parameters),
    "blobgan pair": Kind(blobgan("a.safetensors"), blobgan_file),
    "blobgan pair header": Kind(blobgan("a.safetensors"), blobgan_file, safetensors_head),
    "torchscript": Kind(program("scripted"), generator),
    "torchscript inside": Kind(program("scripted"), generator, within("data.pkl")),
    "torchscript code": Kind(program("scripted"), generator, within(".py")),
    "torch.export": Kind(program("exported"), generator),
    "torch.export graph": Kind(program("exported"), generator, within("model.json", mutate_json)),
    "torch.export weights": Kind(program("exported"), generator, within("_config.json", mutate_json)),
    **{name: Kind(*parts) for name, parts in INTERVAL_KINDS.items()},
}
for _name in ("pth zip", "decision model", "lightning", "generator BlobGAN", "encoder of layouts", "blobgan",
              "layouts of counterfactuals", "stylegan2", "quantile encoder", "state of train_edm",
              "state of a training"):
    KINDS[f"{_name.removesuffix(' zip')}, values"] = Kind(KINDS[_name].make, KINDS[_name].read, torch_values)


def readings(kind, path):
    """Yield the functions that read a file, each to be called apart."""
    return KINDS[kind].read(Path(path))
