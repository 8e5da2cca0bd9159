"""More kinds of files, as tests.readers.kinds has them: of the interval tools, maps, evaluations and backbones."""

import json

import numpy as np

from tests.readers.damage import mutate, mutate_json, npy_head, within
from tests.tools.commands import call_tool


def quietly(*words):
    """Return a function that runs a command, which must end with 0 or with 2 and one line."""
    def command():
        ended = call_tool(*words, "--quiet")
        assert ended.status in (0, 2), ended.err
        assert ended.err.count("\n") <= 1, ended.err

    return command


def stylegan2(folder):
    import torch

    from common.networks.stylegan2 import StyleGAN2, StyleGAN2Config

    network = StyleGAN2(StyleGAN2Config((3, 3, 3), style_dim=4, num_mapping=1))
    torch.save({"g_ema": network.state_dict(), "latent_avg": torch.zeros(4)}, folder / "g.pt")
    return folder / "g.pt"


def stylegan2_file(path):
    from common.generators import open_generator
    from common.networks.stylegan2_weights import load_stylegan2

    yield lambda: load_stylegan2(path)
    yield lambda: open_generator(path).generate([0], 0)


def quantile_encoder(folder):
    from common.networks.quantile_encoder import QuantileEncoderConfig, build_encoder
    from common.networks.quantile_encoder_weights import save_quantile_encoder
    from common.style_space import StyleStatistics

    zeros = np.zeros(20, np.float32)
    save_quantile_encoder(folder / "e.pt", build_encoder(QuantileEncoderConfig(20, ((8, 1), (8, 1)), 16)),
                          StyleStatistics(zeros, zeros - 4, zeros + 4, None, 0), opts={"encoder_size": 16})
    return folder / "e.pt"


def quantile_encoder_file(path):
    from common.networks.quantile_encoder_weights import load_quantile_encoder
    from common.networks.stylegan2_weights import read_stylegan2

    yield lambda: load_quantile_encoder(path)
    yield lambda: read_stylegan2(path)


def latents(folder):
    code = np.linspace(-1, 1, 12, dtype=np.float32)
    np.savez(folder / "latents_00001.npz", style_vectors=code, wplus=np.ones((4, 3), np.float32),
             mean_style_space_vector=code, min_style_space_vector=code - 1, max_style_space_vector=code + 1,
             style_dims=np.array([0, 6, 6]), seed=np.array(3), resize_factor=np.array("1"))
    return folder / "latents_00001.npz"


def latents_file(path):
    from common.datasets.latents import read_latents

    yield lambda: read_latents(path)
    yield lambda: read_latents(path, 12)


def outputs(folder):
    from tests.tools.calibrate_rcps.conftest import make_outputs

    return make_outputs(folder / "outputs.npz", seed=1)


def outputs_file(path):
    from common.rcps.outputs import KEYS, Outputs

    def columns():
        found = Outputs(path)
        found.columns(range(5))
        for key in KEYS:
            found.row(key, 0)

    yield columns
    yield quietly("calibrate_rcps", "--outputs", f"one={path}", "--dims", "all", "--total_runs", 2, "--output_dir",
                  path.parent / "page", "--overwrite")
    yield quietly("calibrate_rcps", "validate", "--outputs", path)


def calibration(folder):
    ended = call_tool("calibrate_rcps", "--outputs", f"one={outputs(folder)}", "--dims", "all", "--total_runs", 2,
                      "--output_dir", folder / "calibration", "--quiet")
    assert ended.status == 0, ended.err
    return folder / "calibration" / "calibration.npz"


def calibration_file(path):
    words = ("--calibration", path, "--outputs", f"one={path.parents[1] / 'outputs.npz'}", "--output_dir",
             path.parents[1] / "page", "--overwrite")
    yield quietly("calibrate_rcps", "apply", *words)


def map_of(name):
    """Return a maker of a finished map whose file of this name is damaged."""
    def make(folder):
        count = 4
        embedding = np.random.default_rng(0).standard_normal((count, 2)).astype(np.float32)
        np.savez(folder / "m.npz", embedding=embedding, neighbours=np.zeros((count, 2), np.int32),
                 distances=np.zeros((count, 2), np.float32), set=np.zeros(count, np.int32))
        (folder / "m.csv").write_text("sample_id,class_label,umap_x,umap_y\n" + "a,1,0.5,1\n" * count)
        results = {"num_samples": count, "features": 3, "components": 3, "variance_kept": 1.0, "trustworthiness": 0.9,
                   "class_purity": 0.5, "pairs": [], "notes": []}
        about = {"title": "m", "sets": [{"name": "a", "root": ".."}], "class_names": {"1": "b"}, "near": "x",
                 "results": results}
        (folder / "m.json").write_text(json.dumps({"n_neighbors": 15, "model": "a", "map": about}))
        return folder / name

    return make


def map_file(path):
    """Read a map, and lay it beside a new one."""
    from tests.tools.process_embeddings.trees import clusters, write_tree
    from tools.process_embeddings.maps import read_map

    set_of = path.parent / "set"
    if not set_of.exists():
        layers, labels, _ = clusters(12, 3, 0)
        write_tree(set_of, "imagenet_real", layers, labels, ["a", "b", "c"])
    yield lambda: read_map(path.with_suffix(".json"))
    yield quietly("process_embeddings", "--data_dir", set_of, "--model", "imagenet_real", "--more_maps",
                  path.with_suffix(".json"), "--output_dir", path.parent / "page", "--dry_run")


def decisions_table(path):
    from tools.evaluate_cf.read import read_labels, read_truth

    yield lambda: read_truth(path, ("odd", "high"))
    yield lambda: read_labels(path, ("odd", "high"))


def class_map(path):
    from common.datasets.imagenet.class_maps import read_class_map

    yield lambda: read_class_map(str(path), [1, 2], path)


def stored_scores(name):
    """Return a maker of an .npz of likelihoods (bpd_0.npz) or asymmetries (repeat_0.npz)."""
    def make(folder):
        row = np.linspace(1, 2, 4)
        arrays = {"bpd": row, "nfe": np.array(5), "repeat": np.array(0), "index": np.arange(4)} \
            if name.startswith("bpd") else {"asym": row, "nasym": row}
        np.savez(folder / name, **arrays)
        return folder / name

    return make


def stored_scores_file(path):
    from tools.qc_ncsn.evaluate.stored import read_asym, read_nll

    yield lambda: (read_nll if path.name.startswith("bpd") else read_asym)(path.parent)


def backbone(folder):
    import torch

    names = ("features.0.weight", "backbone.conv1.weight", "conv1.weight", "input_layer.0.weight",
             "lin0.model.1.weight", "encoder.input_layer.0.weight", "classifier.0.weight", "fc.weight",
             "layer1.0.conv1.weight")
    torch.save({"state_dict": {name: torch.ones(4, 3, 3, 3) for name in names}, "opts": {"a": 1}}, folder / "b.pth")
    return folder / "b.pth"


def backbone_file(path):
    from common.explained.opening import open_explained
    from common.networks.arcface import load_arcface
    from common.networks.lpips import load_lpips
    from common.networks.psp_encoder import load_psp
    from common.networks.vgg16 import load_vgg16

    for load in (load_arcface, load_lpips, load_psp, load_vgg16):
        yield lambda load=load: load(path)
    yield lambda: open_explained(path, "cpu")


def edm_training():
    """Return (network, average, optimiser) of a small training of train_edm."""
    import torch

    from common.training.optim import Optimiser
    from tests.common.networks.adm_makers import small_network

    network, average = small_network(), small_network()
    inner = torch.optim.Adam(network.parameters(), lr=1e-3)
    for parameter in network.parameters():
        parameter.grad = torch.ones_like(parameter)
    inner.step()
    return network, average, Optimiser(inner, lambda updates: 1e-3)


def edm_state(folder):
    from tools.train_edm.state import save_state

    save_state(folder / "checkpoint.pth", *edm_training(), 3, [0.5, 0.25])
    return folder / "checkpoint.pth"


def edm_state_file(path):
    from tools.train_edm.state import load_state

    yield lambda: load_state(path, *edm_training())


def training(folder=None):
    """Return the TrainingState of a network of one layer; written as state.pth where a folder is given."""
    import torch

    from common.training.ema import Average
    from common.training.optim import Optimiser
    from common.training.state import TrainingState

    network = torch.nn.Linear(3, 2)
    inner = torch.optim.Adam(network.parameters())
    network(torch.ones(1, 3)).sum().backward()
    inner.step()
    state = TrainingState({"net": network}, {"net": Optimiser(inner, lambda updates: 1e-3)},
                          {"net": Average(network.parameters(), 0.9)})
    if folder is None:
        return state
    state.save(folder / "state.pth", 5, {"best": 0.5})
    return folder / "state.pth"


def training_file(path):
    yield lambda: training().load(path)


def chunk_cache(folder):
    import torch

    torch.save(["/data/a/1.jpg", "/data/a/2.jpg", "/data/b/3.jpg"], folder / "cache.pth")
    return folder / "cache.pth"


def chunk_cache_file(path):
    from common.datasets.dlas.chunked.legacy_cache import read_cache

    yield lambda: read_cache(path)


def configuration_file(path):
    from common.score.config_files import read_configuration

    yield lambda: read_configuration(path)


def tar_of_images(folder):
    import io
    import tarfile

    from PIL import Image

    with tarfile.open(folder / "set.tar", "w") as archive:
        for number in range(3):
            stream = io.BytesIO()
            Image.fromarray(np.full((8, 8, 3), 40 * number, np.uint8)).save(stream, "PNG")
            entry = tarfile.TarInfo(f"{number}.png")
            entry.size = len(stream.getvalue())
            archive.addfile(entry, io.BytesIO(stream.getvalue()))
    return folder / "set.tar"


def tar_of_images_file(path):
    from common.features.sources import open_images

    def load_all():
        images = open_images(path)
        return [images.load(index) for index in range(len(images))]

    yield load_all


SCORE_YAML = b"preset: u_digits\ndata: {image_size: 8, num_channels: 1}\nmodel:\n  nf: 8\n  sigma_max: 5.0\n" \
             b"training: {batch_size: 4, snapshot_freq: 20}\n"
TRUTH = b"image,attribute,number,odd,high,l1\n00.png,,0,1,0,0.5\n00.png,odd,0,0,0,1.5\n"
SYNSETS = json.dumps({"0": ["n01440764", "tench"], "1": ["n01443537", "goldfish"]}).encode()


def written(name, data):
    def make(folder):
        (folder / name).write_bytes(data)
        return folder / name

    return make


# name: (make, read, damage)
INTERVAL_KINDS = {
    "stylegan2": (stylegan2, stylegan2_file, mutate),
    "stylegan2 inside": (stylegan2, stylegan2_file, within("data.pkl")),
    "quantile encoder": (quantile_encoder, quantile_encoder_file, mutate),
    "quantile encoder inside": (quantile_encoder, quantile_encoder_file, within("data.pkl")),
    "latents": (latents, latents_file, mutate),
    "latents header": (latents, latents_file, within(".npy", npy_head)),
    "outputs": (outputs, outputs_file, mutate),
    "outputs header": (outputs, outputs_file, within("hat.npy", npy_head)),
    "calibration": (calibration, calibration_file, mutate),
    "calibration header": (calibration, calibration_file, within(".npy", npy_head)),
    "map": (map_of("m.npz"), map_file, mutate),
    "json of a map": (map_of("m.json"), map_file, mutate_json),
    "csv of a map": (map_of("m.csv"), map_file, mutate),
    "csv of decisions": (written("t.csv", TRUTH), decisions_table, mutate),
    "json class map": (written("c.json", SYNSETS), class_map, mutate_json),
    "json class names": (written("c.json", b'["cat", "dog"]'), class_map, mutate_json),
    "npz of likelihoods": (stored_scores("bpd_0.npz"), stored_scores_file, mutate),
    "npz of asymmetries": (stored_scores("repeat_0.npz"), stored_scores_file, mutate),
    "state of train_edm": (edm_state, edm_state_file, mutate),
    "state of a training": (training, training_file, mutate),
    "state of a training inside": (training, training_file, within("data.pkl")),
    "cache of chunks": (chunk_cache, chunk_cache_file, mutate),
    "cache of chunks inside": (chunk_cache, chunk_cache_file, within("data.pkl")),
    "configuration": (written("c.yml", SCORE_YAML), configuration_file, mutate),
    "tar of images": (tar_of_images, tar_of_images_file, mutate),
    "backbone": (backbone, backbone_file, mutate),
    "backbone inside": (backbone, backbone_file, within("data.pkl")),
}
