"""From flags to generated images and their activations."""

from dataclasses import replace

from common import console, parallel
from common.activations.layout import GENERATED, Tree
from common.activations.run import ActivationRun, checkpoint_or_default, earlier_options, open_network
from common.diffusion.schedules import check_level
from common.effects import check_effects
from common.errors import InputError
from common.numerals import counted
from tools.generate_dataset import findings
from tools.generate_dataset.pictures import EarlierPictures


def generate(request):
    """Generate; results: num_samples, layers, widths, format, network_calls, images_per_second, output_dir."""
    from common.activations.capture import note_feeding
    from common.device import pick_device

    options = settle(request)
    device = pick_device(options.device, parallel.local_rank())
    network, weights = open_network(
        options.checkpoint_path, options.layers, options.pool, device, weights=options.weights, part=options.part,
        precision=options.precision, compile=options.compile, model_flags=options.model_flags)
    note_feeding(request.input_mode, options.conditioning_sigma, network.config)
    sampling = make_sampling(options)
    sampling.check(network.config)
    check_noise(options, sampling, network)
    earlier = None
    if options.images_from is not None:
        earlier = EarlierPictures(options.images_from, options, weights["sha256"], network.config)
    run = Generation(request, options, network, weights, sampling, earlier)
    pictures = [Tree(options.images_from, GENERATED).images] if options.images_from else []
    return run.carry_out({"checkpoint": weights["sha256"]}, [options.checkpoint_path, *pictures], lambda: (
        f"would generate {counted(options.num_samples, 'image')} ({sampling.calls} network calls each) into "
        f"{run.tree.images}",
        {"num_samples": options.num_samples, "network_calls": sampling.calls, "output_dir": options.output_dir}),
        device)


def settle(options):
    """Return the options with dependent defaults filled in; InputError for values that make no sense."""
    from common.activations.capture import settle_feeding

    if options.model != "imagenet":
        raise InputError(f"{options.model} is not yet implemented", where=f"--model {options.model}", do="Use imagenet")
    check_effects(options, acts(options))
    settled = {"checkpoint_path": checkpoint_or_default(options.checkpoint_path),
               "input_mode": options.input_mode or ("sampling" if options.method == "onestep" else "scale")}
    if options.mixed_precision not in (None, "no"):
        settled["precision"] = options.mixed_precision
    if options.sigma_max is None:
        settled["sigma_max"] = options.conditioning_sigma if settled["input_mode"] == "sampling" else 80.0
    earlier = earlier_options(Tree(options.output_dir, GENERATED), options.overwrite)
    settled["to_uint8"] = conversion(options, earlier)
    if earlier and options.noise != earlier.get("noise", "unit"):
        raise InputError(f"the images in this folder have noise {earlier.get('noise', 'unit')}",
                         where=f"--noise {options.noise}", do="Use the same, another folder, or --overwrite")
    existing = earlier.get("num_samples")
    if isinstance(existing, int) and existing > options.num_samples:
        console.say(f"note: {options.output_dir} already has {counted(existing, 'sample')}")
        settled["num_samples"] = existing
    if settled["input_mode"] != "sampling":
        settled["input_mode"] = settle_feeding(settled["input_mode"], options.conditioning_sigma)
    options = replace(options, **settled)
    check_input_mode(options)
    return options


def acts(options):
    """Return when options of the sampler act, see common.effects."""
    method, churned = options.method, (options.method == "heun" and options.S_churn > 0, "--S_churn")
    return dict.fromkeys(("num_steps", "sigma_min", "rho"),
                         (method != "onestep", "--method fewstep, heun or multistep")) | {
        "S_churn": (method == "heun", "--method heun"), "S_min": churned, "S_max": churned, "S_noise": churned,
        "stochastic": (method == "fewstep", "--method fewstep"), "eta": (method == "multistep", "--method multistep")}


def check_noise(options, sampling, network):
    """Raise InputError where the originals' noise is not what this run would draw."""
    import math

    known = {"unit": True, "edm": options.method == "heun", "dmd2": False}[options.noise]
    if sampling.draws_further and not known:
        raise InputError(f"{options.method} draws noise after the start, which {options.noise} does otherwise",
                         where=f"--noise {options.noise}", do="Use heun without churn, onestep, or --noise unit")
    if options.noise == "dmd2" and math.prod(network.image_shape) % 16:
        raise InputError("the stream would depend on the batch size for images of this size", where="--noise dmd2",
                         do="Use unit or edm")


def conversion(options, earlier):
    """Return how values become bytes. earlier: options of the run in the folder, which goes on as it began; runs from
    before there was a choice did as DMD2."""
    began = earlier.get("to_uint8", "dmd2") if earlier else None
    if began and options.to_uint8 not in (None, began):
        raise InputError(f"the images in this folder were converted as by {began}",
                         where=f"--to_uint8 {options.to_uint8}",
                         do=f"Use {began}, another folder, or --overwrite to start over")
    return options.to_uint8 or began or own_conversion(options.method)


def own_conversion(method):
    """Return how the origin of a sampler makes bytes."""
    return "edm" if method == "heun" else "dmd2"


def check_input_mode(options):
    """Raise InputError for flags that do not go with the pass whose activations are stored."""
    if options.input_mode != "sampling":
        return
    if options.images_from is not None:
        raise InputError("finished images lack the activations of their sampling pass", where="--images_from",
                         do="Use --input_mode scale, noise or clean, or omit --images_from")
    if options.method != "onestep":
        raise InputError("several steps have no single pass to take activations from",
                         where="--input_mode sampling", do="Use scale, noise or clean")
    if options.label_mode != "own" or options.guidance != 1:
        raise InputError("the sampling pass takes each image's own label, unguided", where="--input_mode sampling",
                         do="Use scale, noise or clean")
    if options.conditioning_sigma != 0:
        check_level("conditioning_sigma", options.conditioning_sigma)
    else:
        raise InputError("the log of this noise level is not finite: every activation would be NaN",
                         where=f"--conditioning_sigma {options.conditioning_sigma:g}",
                         do="Use 80, the initial noise level of the networks")
    if options.sigma_max != options.conditioning_sigma:
        raise InputError("the sampling pass starts at --conditioning_sigma", where=f"--sigma_max {options.sigma_max:g}",
                         do="Omit one of the two")


def make_sampling(options):
    """Return the Sampling of the flags."""
    from common.diffusion.edm_sampling import Sampling

    names = ("num_steps", "sigma_max", "sigma_min", "rho", "S_churn", "S_min", "S_max", "S_noise", "stochastic",
             "eta", "guidance")
    return Sampling(options.method, **{name: getattr(options, name) for name in names})


def choose_classes(options, config):
    """Return the class (n,) int64 of each image, or None for an unconditional network; InputError for unknown ones."""
    import numpy as np

    from common.datasets.imagenet.classes import parse_classes
    from common.diffusion.labels import class_sequence
    from common.diffusion.noise import EdmNoise

    known = config.label_dim
    if known == 0:
        if options.target_classes is not None or options.samples_per_class is not None:
            raise InputError("the network is unconditional", where=options.checkpoint_path,
                             do="Omit --target_classes and --samples_per_class")
        return None
    if options.noise == "edm" and options.target_classes is None and options.samples_per_class is None:
        shape = (config.img_channels, config.img_resolution, config.img_resolution)
        return np.concatenate([EdmNoise(options.seed, [number], shape, label_dim=known).classes.numpy()
                               for number in range(options.num_samples)])
    if options.target_classes is None:
        return class_sequence(options.seed, options.num_samples, known, options.samples_per_class)
    wanted = np.array(parse_classes(options.target_classes, class_labels(known)), np.int64)
    return wanted[class_sequence(options.seed, options.num_samples, len(wanted), options.samples_per_class)]


def class_labels(count):
    """Return the class index of a network: ImageNet's for 1,000 classes."""
    from common.datasets.imagenet.class_maps import plain_index
    from common.datasets.imagenet.classes import COUNT, class_index

    return class_index() if count == COUNT else plain_index(range(count))


class Generation(ActivationRun):
    """One generation job."""

    tool, label = "generate_dataset", "generating"
    summary = staticmethod(findings.generate)

    def __init__(self, request, options, network, weights, sampling, earlier=None):
        import numpy as np

        from common.activations.capture import Capture

        super().__init__(request, options, GENERATED, network, np.arange(options.num_samples, dtype=np.int64))
        self.weights, self.sampling, self.earlier = weights, sampling, earlier
        self.classes, self.stream = choose_classes(options, network.config), None
        mode = "clean" if options.input_mode == "sampling" else options.input_mode
        self.capture = Capture(network, self.form.widths, mode, options.conditioning_sigma, options.seed,
                               options.label_mode, options.pool, options.dtype, images=False)

    def compute(self, loaded):
        """Return the UnitResult of a unit."""
        import numpy as np

        from common.activations.job import UnitResult

        arrays, images = [], []
        for start in range(0, len(loaded.indices), self.options.batch_size):
            numbers = loaded.indices[start : start + self.options.batch_size]
            one = self.options.input_mode == "sampling"
            rows, pictures = self.one_step(numbers) if one else self.sample_then_encode(numbers)
            arrays.append(rows)
            images.append(pictures)
        joined = {layer: np.concatenate([rows[layer] for rows in arrays]) for layer in self.form.widths}
        pictures = [(path, picture) for number, picture in zip(loaded.indices, np.concatenate(images))
                    for path in self.picture_paths(int(number))]
        return UnitResult(loaded, list(range(len(loaded.indices))), joined, pictures)

    def picture_paths(self, position):
        """Return [the path of a sample's picture], [] where none are stored."""
        from common.activations.job import picture_path

        return [picture_path(self.tree.images, position)] if self.options.images else []

    def noise(self, numbers):
        """Return the source of noise of some images, as UnitNoise."""
        from common.diffusion.noise import EdmNoise, StreamNoise, UnitNoise

        network, seed, numbers = self.network, self.options.seed, numbers.tolist()
        device = next(network.parameters()).device
        if self.options.noise == "edm":
            return EdmNoise(seed, numbers, network.image_shape, device, network.config.label_dim)
        if self.options.noise == "dmd2":
            self.stream = self.stream or StreamNoise(seed, network.image_shape)
            start = self.stream(numbers).to(device)
            return lambda: start
        return UnitNoise(seed, numbers, network.image_shape, device, ahead=1)

    def one_step(self, numbers):
        """Return ({layer: rows}, uint8 images) of a batch, both from one pass on noise."""
        import torch

        from common.activations.capture import label_vectors, not_finite
        from common.images.pixels import to_uint8

        network, sigma = self.network, self.sampling.levels(self.network)[0]
        device = next(network.parameters()).device
        noise = self.noise(numbers)
        with torch.inference_mode():
            labels = None if self.classes is None else label_vectors(self.classes[numbers], "own",
                                                                     network.config.label_dim, device)
            images, outputs = network.run(sigma * noise(), sigma, labels, layers=list(self.form.widths))
            if not bool(images.isfinite().all()):
                raise not_finite("the images")
            return self.capture.stored(outputs), to_uint8(images, self.options.to_uint8)

    def sample_then_encode(self, numbers):
        """Return ({layer: rows}, uint8 images) of a batch: sampled, then fed to the network like a real image."""
        import numpy as np

        from common.diffusion.edm_sampling import sample
        from common.images.pixels import to_uint8

        classes = None if self.classes is None else self.classes[numbers]
        sampled = self.earlier.load(numbers) if self.earlier else {}
        new = np.array([number not in sampled for number in numbers.tolist()])
        if new.any():
            chosen = None if classes is None else classes[new]
            fresh = sample(self.network, self.sampling, self.options.seed, numbers[new].tolist(), chosen,
                           noise=self.noise(numbers[new]))
            sampled |= dict(zip(numbers[new].tolist(), to_uint8(fresh, self.options.to_uint8)))
        images = np.stack([sampled[number] for number in numbers.tolist()])
        labels = np.zeros(len(numbers), np.int64) if classes is None else classes
        pixels = np.ascontiguousarray(images.transpose(0, 3, 1, 2))
        return self.capture.of_pixels(pixels, labels, numbers, len(numbers))[0], images

    def samples(self):
        """Yield the records of all samples, in order."""
        from common.activations.layout import sample_name

        for position, number, row in self.store.good_samples(self.units):
            path, place = self.form.place(position, row)
            pictures = [self.tree.relative(path) for path in self.picture_paths(position)]
            yield {"sample_id": sample_name(position),
                   "class_label": None if self.classes is None else int(self.classes[number]),
                   "image_path": pictures[0] if pictures else None,
                   "activation_path": path, "batch_index": place}

    def head(self, count, skipped):
        """Return the metadata above the samples: the published entries, and how images and activations were made."""
        options = self.options
        return {"model_type": self.tree.model, "checkpoint": self.weights["path"], "num_samples": count,
                "layers": self.layers,
                "conditioning_sigma": options.conditioning_sigma, "seed": options.seed,
                "input_mode": options.input_mode,
                "label_mode": options.label_mode, **self.stored_as(), "sampling": self.sampling.described(),
                "to_uint8": options.to_uint8, "noise": options.noise,
                "class_labels": class_labels(self.network.config.label_dim)}

    def conclude(self, count, skipped, rate):
        """Say what was written and return the results."""
        console.show_table(str(self.tree.activations),
                           ["samples", "network calls per image", "layers", "values per image", "images/s"],
                           [[f"{count:,}", self.sampling.calls, self.options.layers,
                             f"{sum(self.form.widths.values()):,}",
                             f"{rate:.3g}" if rate else "-"]])
        if self.request.to_uint8 is None and self.options.to_uint8 != own_conversion(self.options.method):
            console.say(f"note: the images go on as they began, converted as by --to_uint8 {self.options.to_uint8}")
        if self.options.input_mode == "sampling":
            console.say("note: these activations come from a pass on noise, those of real images from one on images; "
                        "to compare them, give both commands the same --input_mode scale, noise or clean")
        console.say(f"next: python -m tools.process_embeddings --model {self.tree.model} --data_dir "
                    f"{self.options.output_dir}")
        return {"num_samples": count, "layers": self.layers, "widths": self.form.widths, "format": self.options.format,
                "network_calls": self.sampling.calls, "images_per_second": rate, "output_dir": self.options.output_dir}
