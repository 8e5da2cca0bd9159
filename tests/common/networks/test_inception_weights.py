"""Inception weight files: every published container gives the same features, everything else is named and refused."""

import os
import pickle
from pathlib import Path

import numpy as np
import pytest
import torch

from common.errors import InputError
from common.files import file_hash
from common.formats.checkpoints import save_safetensors, save_torch
from common.networks import inception_weights as weights
from common.networks.inception import InceptionV3
from common.nn.unfilled import unfilled


def as_script(state, path):
    """Write a TorchScript archive with NVIDIA's names; scales of batch norm, which it has not, go into convolutions."""
    root = torch.nn.Module()
    for name, own in weights.script_names().items():
        value = state[own]
        if not own.startswith("fc."):
            scale = state[own.rsplit(".", 2)[0] + ".bn.weight"]
            if own.endswith(("conv.weight", "mean")):
                value = value * scale.reshape(-1, *[1] * (value.ndim - 1))
        place, *inner = root, *name.split(".")
        for part in inner[:-1]:
            if not hasattr(place, part):
                place.add_module(part, torch.nn.Module())
            place = getattr(place, part)
        place.register_buffer(inner[-1], value)
    root.forward = lambda x: x
    torch.jit.trace(root, torch.zeros(1)).save(path)


def features_of(path, case):
    """Return (features, logits) of the golden case's large image with the weights of a file."""
    loaded = weights.load_inception(path)
    assert loaded.weights == {"file": path.name, "sha256": file_hash(path), "published": False}
    pixels = torch.from_numpy(case.arrays["big_u8"]).permute(0, 3, 1, 2)
    features = loaded.features((pixels.float() - 128) / 128)
    return features.numpy(), loaded.logits(features).numpy() if loaded.has_logits else None


WRITERS = {
    "a.pth": lambda state, path: save_torch(path, state),
    "no_counters.pth": lambda state, path: save_torch(path, {k: v for k, v in state.items() if "num_batches" not in k}),
    "a.safetensors": lambda state, path: save_safetensors(path, state, {}),
    "inception-2015-12-05.pt": as_script,
}


@pytest.mark.filterwarnings("ignore:.torch.jit:DeprecationWarning")
@pytest.mark.parametrize("name", WRITERS)
def test_every_container_gives_the_published_features(name, tmp_path, case, state):
    WRITERS[name](state, tmp_path / name)
    features, logits = features_of(tmp_path / name, case)
    np.testing.assert_allclose(features, case.arrays["big_2048"], rtol=0, atol=1e-5)
    np.testing.assert_allclose(logits, case.arrays["big_logits"], rtol=0, atol=1e-4)


def test_a_saved_wrapper_gives_features_and_says_that_it_has_no_logits(tmp_path, case, state):
    inverse = {own: wrapped for wrapped, own in weights.wrapper_names().items()}
    wrapped = {inverse[name.split(".")[0] + "."] + name.partition(".")[2]: value
               for name, value in state.items() if not name.startswith("fc.")}
    assert "blocks.0.0.conv.weight" in wrapped
    assert "blocks.2.7.branch7x7dbl_5.bn.bias" in wrapped
    save_torch(tmp_path / "w.pth", wrapped)
    features, logits = features_of(tmp_path / "w.pth", case)
    np.testing.assert_allclose(features, case.arrays["big_2048"], rtol=0, atol=1e-5)
    assert logits is None
    with pytest.raises(InputError, match=r"^w\.pth: .*no logits"):
        weights.load_inception(tmp_path / "w.pth").logits(torch.zeros(1, 2048))


@pytest.fixture
def light():
    """A state dict of the right names and shapes that takes no room: every tensor is one stored zero."""
    with unfilled():
        entries = InceptionV3().state_dict()
    return {name: torch.zeros((), dtype=value.dtype).expand(value.shape) for name, value in entries.items()}


def changed(light, **changes):
    """Return the state with entries replaced (names with __ for dots), or removed where None."""
    state = {**light, **{name.replace("__", "."): value for name, value in changes.items()}}
    return {name: value for name, value in state.items() if value is not None}


NAN = torch.tensor(float("nan"))
FAULTS = {
    "'fc.bias' is missing (1 missing, 0 unexpected of 472 entries)": {"fc__bias": None},
    "'extra' is not part of the FID Inception": {"extra": torch.zeros(1)},
    "'Conv2d_1a_3x3.bn.bias' has shape (31,), expected (32,)": {"Conv2d_1a_3x3__bn__bias": torch.zeros(31)},
    "'Conv2d_1a_3x3.bn.bias' holds NaN": {"Conv2d_1a_3x3__bn__bias": NAN.expand(32)},
    "'Conv2d_1a_3x3.bn.bias' is float16": {"Conv2d_1a_3x3__bn__bias": torch.zeros(32).half()},
    "'Conv2d_1a_3x3.bn.running_var' holds a negative variance": {"Conv2d_1a_3x3__bn__running_var": -torch.ones(32)},
    "torchvision's ImageNet Inception": {"fc__weight": torch.zeros(1).expand(1000, 2048)},
    "torchvision's ImageNet Inception (1000": {"AuxLogits__fc__bias": torch.zeros(1000)},
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_wrong_state_is_named_in_one_line(fault, tmp_path, light):
    path = tmp_path / "w.pth"
    save_torch(path, changed(light, **FAULTS[fault]))
    with pytest.raises(InputError) as caught:
        weights.load_inception_state(path)
    message = str(caught.value)
    assert fault in message
    assert message.startswith(str(path))
    assert "\n" not in message
    assert weights.STATE_URL in message or "NaN" in message


class Malicious:
    def __init__(self, target):
        self.target = target

    def __reduce__(self):
        return os.system, (f"touch {self.target}",)


def test_files_of_other_kinds_are_refused_and_run_nothing(tmp_path):
    target = tmp_path / "ran"
    code = pickle.dumps(Malicious(target), protocol=2)
    contents = {
        "inception-2015-12-05.pkl": (code, "pickle with code inside"),
        "renamed.pth": (b"\x80\x02ctorch_utils.persistence\n_reconstruct\n" + code, "pickle with code inside"),
        "hostile.pth": (code, "nothing of it was run"),
        "page.pt": (b"<html>not found</html>", "truncated or of another kind"),
        "page.safetensors": (b"<html>not found</html>", "not a complete safetensors file"),
        "list.pth": (pickle.dumps([1, 2], protocol=2), "not a dictionary of tensors|another kind"),
    }
    for name, (content, message) in contents.items():
        (tmp_path / name).write_bytes(content)
        with pytest.raises(InputError, match=message) as caught:
            weights.load_inception_state(tmp_path / name)
        assert "\n" not in str(caught.value)
    assert not target.exists()
    with pytest.raises(InputError, match="no such file"):
        weights.load_inception_state(tmp_path / "none.pth")


@pytest.fixture
def bare(monkeypatch, tmp_path):
    """A machine without any weights; the usual places lie under tmp_path."""
    for variable in (weights.VARIABLE, "TORCH_HOME", "XDG_CACHE_HOME"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setattr(Path, "home", lambda: tmp_path / "home")
    monkeypatch.setattr(weights.tempfile, "gettempdir", lambda: str(tmp_path / "temporary"))
    return tmp_path


def touch(path):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch()
    return path


def test_the_path_given_goes_before_the_variable_and_that_before_the_usual_places(bare, monkeypatch):
    script, plain, other = weights.SCRIPT_FILE, *weights.STATE_FILES
    places = [
        touch(bare / "home" / ".cache" / "torch" / "hub" / "checkpoints" / other),
        touch(bare / "home" / ".cache" / "torch" / "hub" / "checkpoints" / plain),
        touch(bare / "hub" / "hub" / "checkpoints" / other),
        touch(bare / "temporary" / script),
        touch(bare / "set" / "mine.pth"),
        touch(bare / "given" / "yours.pth"),
    ]
    monkeypatch.setenv("TORCH_HOME", str(bare / "hub"))
    monkeypatch.setenv(weights.VARIABLE, str(places[4]))
    assert weights.find_inception(places[5]) == places[5]
    assert weights.find_inception(bare / "temporary") == places[3]  # a folder
    assert weights.find_inception() == places[4]
    monkeypatch.delenv(weights.VARIABLE)
    for expected in places[3::-1]:
        assert weights.find_inception() == expected
        expected.unlink()


def test_a_missing_file_says_which_where_from_and_where_to(bare, monkeypatch):
    with pytest.raises(InputError) as caught:
        weights.find_inception()
    for word in (weights.SCRIPT_URL, weights.STATE_URL, weights.VARIABLE, *weights.STATE_FILES, weights.SCRIPT_FILE):
        assert word in str(caught.value)
    with pytest.raises(InputError, match="none.pt: no Inception weights here"):
        weights.find_inception(bare / "none.pt")
    monkeypatch.setenv(weights.VARIABLE, "nowhere")
    with pytest.raises(InputError, match="^GENPROBE_INCEPTION=nowhere: no Inception weights here"):
        weights.find_inception()
