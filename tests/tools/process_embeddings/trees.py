"""Small trees of activations as extract_real_imagenet and generate_dataset write them."""

import json

import numpy as np
from PIL import Image

REAL_FIELDS = ("sample_id", "class_label", "synset_id", "class_name", "image_path", "reconstructed_path",
               "activation_path", "batch_index", "original_path", "source", "conditioning_sigma")


def write_tree(root, model, layers, labels, names, images=None, batch=16, compressed=True, **info):
    """Write a set below `root`.

    layers: {name: (N, ...) float array}.  labels: (N,) ints.  names: class names.  images: (N, H, W, 3) uint8 or None.
    info: further entries of dataset_info.json.
    """
    count, real = len(labels), model.startswith("imagenet_real")
    folders = {kind: root / kind / model for kind in ("images", "activations", "metadata")}
    for folder in folders.values():
        folder.mkdir(parents=True, exist_ok=True)
    save = np.savez_compressed if compressed else np.savez
    for start in range(0, count, batch):
        save(folders["activations"] / f"batch_{start // batch:06d}.npz",
             **{name: rows[start : start + batch].astype(np.float32) for name, rows in layers.items()})
    samples = []
    for index in range(count):
        record = {
            "sample_id": f"sample_{index:06d}", "class_label": int(labels[index]), "synset_id": f"n{labels[index]:08d}",
            "class_name": names[labels[index]], "image_path": f"images/{model}/sample_{index:06d}.png",
            "reconstructed_path": f"images/{model}_reconstructed/sample_{index:06d}.png",
            "activation_path": f"activations/{model}/batch_{index // batch:06d}", "batch_index": index % batch,
            "original_path": f"npz_sample_{index * 7}", "source": "imagenet_real_npz", "conditioning_sigma": 80.0,
        }
        chosen = REAL_FIELDS if real else ("sample_id", "class_label", "image_path", "activation_path", "batch_index")
        samples.append({name: record[name] for name in chosen})
        if images is not None:
            Image.fromarray(images[index]).save(folders["images"] / f"sample_{index:06d}.png")
    index = {str(number): [f"n{number:08d}", name] for number, name in enumerate(names)}
    description = {"model_type": "imagenet_real" if real else "imagenet", "num_samples": count,
                   "layers": sorted(layers),
                   "conditioning_sigma": 80.0, "seed": 10, "class_labels": index, **info, "samples": samples}
    (folders["metadata"] / "dataset_info.json").write_text(json.dumps(description, indent=2))
    return root


def clusters(count, num_classes, seed, shift=0.0, features=24, drawn=False):
    """Return ({layer: array}, labels, images): points around class centres; images are plain colours, one for each
    class.

    drawn: labels are drawn rather than taken in turn.  Classes in exact balance make a cross-validated classifier worse
    than chance on equal sets: what it has seen too often of a class is missing in what it has not seen.
    """
    centres = np.random.default_rng(0).standard_normal((num_classes, features)) * 3
    generator = np.random.default_rng(seed)
    labels = generator.integers(0, num_classes, count) if drawn else np.arange(count) % num_classes
    rows = centres[labels] + generator.standard_normal((count, features)) + shift
    layers = {"midblock": rows[:, : features // 2],
              "encoder_bottleneck": rows[:, features // 2 :].reshape(count, -1, 2, 2)}
    colours = np.random.default_rng(1).integers(0, 256, (num_classes, 3), dtype=np.uint8)
    return layers, labels, np.broadcast_to(colours[labels][:, None, None], (count, 8, 8, 3)).copy()


def photo_patches(side=32, stride=4):
    """Return (uint8 (N, side, side, 3), column (N,), photo (N,)): all patches of the two photographs, reduced to 320
    wide."""
    from sklearn.datasets import load_sample_image

    patches, columns, photos = [], [], []
    for number, name in enumerate(("china.jpg", "flower.jpg")):
        photo = np.asarray(Image.fromarray(load_sample_image(name)).resize((320, 213), Image.Resampling.LANCZOS))
        for y in range(0, 213 - side + 1, stride):
            for x in range(0, 320 - side + 1, stride):
                patches.append(photo[y : y + side, x : x + side])
                columns.append(x)
                photos.append(number)
    return np.stack(patches), np.array(columns), np.array(photos)
