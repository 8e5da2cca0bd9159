"""Feature spaces: from images to rows of features (and logits), under a name that is shown with every figure.

A space has `name`, `model` (its name in those of statistics, "" for the FID's), `description`, `width`, `num_logits`
(0: none), `meta` (what statistics must share to be comparable), `prepare(image)` -> array, for one image in a worker
thread, `encode(prepared)` -> (features (n, width) float32, logits (n, num_logits) float32 or None), and `encode_in`.
"""

from common.errors import InputError, nearest
from common.images.pixels import to_bytes

MODES = ("clean", "legacy_pytorch", "legacy_tensorflow", "fast")
MODULES = {  # extractors whose network is a program of the user's: name in messages, mean and deviation of its images
    "dinov2": ("DINOv2", (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),  # of ImageNet, as in torchvision
    "clip": ("CLIP", (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)),
}
EXTRACTORS = ("inception", "small", *MODULES, "vgg16")
LARGEST = 1 << 22  # pixels of an image for SmallSpace: 2 GB of activations


class Space:
    """What all spaces share."""

    is_inception, num_logits = False, 0  # is_inception: a Frechet distance is a FID

    def encode_in(self, spaces, prepared):
        """Return what `encode` does in each of several spaces of one network, this one alone where they share none."""
        return [self.encode(prepared)]


def open_space(extractor, mode="clean", weights=None, device="cpu", antialias=True, layer=2048):
    """Return the feature space of an extractor.

    extractor: inception (of FID), small (common.features.small_features), dinov2 and clip (a TorchScript or
    torch.export file, `weights`), vgg16 (torchvision's file).
    mode: Inception's preprocessing, see common.features.resize; antialias affects mode fast alone.
    weights: path of the weights; for Inception, None looks in the usual places.  layer: of Inception, see
    common.networks.inception.LAYERS.
    Raises InputError for unknown names and for weights that are missing or of another network.
    """
    if mode not in MODES:
        raise InputError(f"unknown mode '{mode}'", where="--mode", do=nearest(mode, MODES))
    if extractor == "inception":
        from common.networks.inception_weights import load_inception

        return InceptionSpace(load_inception(weights, device), mode, device, antialias, str(layer))
    if extractor == "small":
        return SmallSpace(device)
    if extractor in MODULES:
        return ModuleSpace(extractor, weights, device)
    if extractor == "vgg16":
        return VggSpace(weights, device)
    raise InputError(f"unknown extractor '{extractor}'", where="--extractor", do=nearest(extractor, EXTRACTORS))


def model_of_layer(layer):
    """Return the name of an Inception layer's space in those of statistics."""
    return "" if str(layer) == "2048" else f"inception-{layer}"


class InceptionSpace(Space):
    """The FID Inception's features: of the last pool, in which a Frechet distance is a FID, or of another layer.

    Its logits, of the last pool alone, are without the last layer's bias, as the Inception score's own code,
    torch-fidelity and StyleGAN take them.
    """

    def __init__(self, network, mode, device="cpu", antialias=True, layer="2048"):
        """network: a common.networks.inception.InceptionFeatures."""
        from common.networks.inception import LAYERS, NUM_CLASSES

        self._network = network
        self._mode, self._antialias, self._device, self.layer = mode, antialias, device, layer
        self.is_inception, self.width, self.model = layer == "2048", LAYERS[layer], model_of_layer(layer)
        self.num_logits = NUM_CLASSES if self.is_inception and self._network.has_logits else 0
        self.name = f"{self.model or 'inception'}-{mode}"
        what = "pool_3" if self.is_inception else f"layer {layer}"
        self.description = f"{what} of the FID Inception ({network.weights['file']}), preprocessing {mode}"
        self.meta = {"extractor": self.model or "inception", "resize": mode, "weights": network.weights["sha256"]}
        if mode == "fast":
            self.meta["antialias"] = antialias

    def beside(self, layer):
        """Return the space of another layer of this network."""
        return InceptionSpace(self._network, self._mode, self._device, self._antialias, layer)

    def prepare(self, image):
        """Return the network's input, float32 (3, 299, 299), for an image (H, W, 3), uint8 or float in 0..255."""
        from common.features.resize import normalise, resize_image

        return normalise(resize_image(image, self._mode, antialias=self._antialias), self._mode).transpose(2, 0, 1)

    def encode(self, prepared):
        """Return (features (n, width), logits (n, 1008) or None) of prepared images."""
        return self.encode_in([self], prepared)[0]

    def encode_in(self, spaces, prepared):
        """Return [(features, logits or None)] of prepared images in spaces of this network, from one pass."""
        import numpy as np
        import torch

        batch = torch.from_numpy(np.stack(prepared)).to(self._device)
        layers = self._network.layers(batch, [space.layer for space in spaces])
        return [(layers[space.layer].cpu().numpy(),
                 self._network.logits(layers[space.layer], bias=False).cpu().numpy() if space.num_logits else None)
                for space in spaces]


class SmallSpace(Space):
    """`small_features`, for images of 8 x 8 to 64 x 64; never called FID."""

    def __init__(self, device):
        from common.features import small_features

        self._device = device
        self.name = self.model = small_features.NAME
        self.width = small_features.NUM_FEATURES
        self.description = small_features.DESCRIPTION
        self.meta = {"extractor": small_features.NAME}

    def prepare(self, image):
        """Return uint8 (H, W, 3); floats are rounded. NaN, and a size that this space is not for, are InputErrors."""
        height, width = image.shape[:2]
        if min(height, width) < 2 or height * width > LARGEST:
            raise InputError(f"{width} x {height} pixels, {self.name} takes 2 x 2 to {LARGEST:,} in all")
        return to_bytes(image)

    def encode(self, prepared):
        """Return (features (n, 128), None) of prepared images, which may differ in size."""
        import numpy as np

        from common.features.small_features import small_features

        features = np.empty((len(prepared), self.width), np.float32)
        shapes = [image.shape for image in prepared]
        for shape in dict.fromkeys(shapes):
            rows = [row for row, other in enumerate(shapes) if other == shape]
            features[rows] = small_features(np.stack([prepared[row] for row in rows]), self._device)
        return features, None


class ModuleSpace(Space):
    """The output of a program from images to features: bicubic to its size on bytes, then its mean and deviation.

    DINOv2 as Stein et al. (2023) take it, CLIP as clean-fid does. The program is TorchScript, for 224 x 224, or of
    torch.export, which tells its size; of the file only what computes is run (see common/formats).
    """

    def __init__(self, extractor, weights, device):
        import torch

        from common.files import fingerprint

        title, self._mean, self._deviation = MODULES[extractor]
        if weights is None:
            raise InputError(f"{title} needs its network as a TorchScript or torch.export file", where="--weights",
                             do="Export one where the weights are (torch.jit.trace(model, zeros(1, 3, 224, "
                                "224)).save(PATH))")
        self._network, self._side = _open_program(weights, device)
        self._device = device
        digest = fingerprint(weights)["sha256"]
        self.name = self.model = f"{extractor}-{digest[:8]}"
        self.description = f"output of {weights}, {self._side}x{self._side} bicubic on bytes"
        self.meta = {"extractor": extractor, "weights": digest}
        self.width = self._encode(torch.zeros(2, 3, self._side, self._side)).shape[1]

    def prepare(self, image):
        """Return float32 (3, side, side)."""
        import numpy as np
        from PIL import Image

        resized = Image.fromarray(to_bytes(image)).resize((self._side, self._side), Image.Resampling.BICUBIC)
        scaled = (np.asarray(resized, np.float32) / 255 - np.float32(self._mean)) / np.float32(self._deviation)
        return scaled.transpose(2, 0, 1)

    def encode(self, prepared):
        """Return (features (n, width), None) of prepared images."""
        import numpy as np
        import torch

        return self._encode(torch.from_numpy(np.stack(prepared))), None

    def _encode(self, batch):
        import torch

        try:
            with torch.inference_mode():
                found = self._network(batch.to(self._device))
        except torch.OutOfMemoryError:
            raise
        except (RuntimeError, IndexError, ValueError, TypeError) as error:  # of a module of another kind
            why = str(error).strip().splitlines()[-1]
            raise InputError(f"the network fails on {tuple(batch.shape)}: {why}", where="--weights",
                             do=f"Export a network that takes images (n, 3, {self._side}, {self._side})") from error
        if not isinstance(found, torch.Tensor) or found.ndim != 2 or len(found) != len(batch):
            shape = tuple(found.shape) if isinstance(found, torch.Tensor) else type(found).__name__
            raise InputError(f"the network gives {shape} for {tuple(batch.shape)}, expected one row per image",
                             where="--weights",
                             do="Export a network that returns the class token's features")
        return found.float().cpu().numpy()


def _open_program(path, device):
    """Return (function of images, side of these) of a TorchScript or torch.export file. Raises InputError."""
    from common.formats.exported_program import ExportedProgram, InPieces
    from common.formats.script_module import load_script

    if not str(path).lower().endswith(".pt2"):
        return load_script(path, device), 224
    program = ExportedProgram(path, device)
    channels, *sides = program.input_shape if len(program.input_shape) == 3 else (0, 0, 1)
    if channels != 3 or sides[0] != sides[1]:
        raise InputError(f"the program takes (n, {', '.join(map(str, program.input_shape))}), expected square images",
                         where=path, do="Export a network that takes images (n, 3, side, side)")
    return InPieces(program), sides[0]


class VggSpace(Space):
    """VGG-16's fc2 behind its rectifier, as torch-fidelity takes it: TensorFlow's bilinear to 224 x 224."""

    def __init__(self, weights, device):
        from common.files import fingerprint
        from common.networks.vgg16 import NUM_FEATURES, PUBLISHED, load_vgg16

        if weights is None:
            raise InputError("VGG-16 needs its weights", where="--weights", do=f"Give {PUBLISHED}")
        self._network, self._device, self.width = load_vgg16(weights, device), device, NUM_FEATURES
        digest = fingerprint(weights)["sha256"]
        self.name = self.model = f"vgg16-{digest[:8]}"
        self.description = f"fc2 of VGG-16 ({weights}) behind its rectifier, TensorFlow's bilinear to 224x224"
        self.meta = {"extractor": "vgg16", "weights": digest}

    def prepare(self, image):
        """Return float32 (3, 224, 224) in 0..255, for an image (H, W, 3), uint8 or float in 0..255."""
        from common.features.resize import resize_image

        return resize_image(image, "legacy_tensorflow", 224).transpose(2, 0, 1)

    def encode(self, prepared):
        """Return (features (n, 4096), None) of prepared images."""
        import numpy as np
        import torch

        with torch.inference_mode():
            return self._network(torch.from_numpy(np.stack(prepared)).to(self._device)).cpu().numpy(), None
