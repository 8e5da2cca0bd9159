"""The modes of whole-image data sets and their classes, for the registry (common.datasets.dlas.options)."""

MODES = {
    "stylegan2": "common.datasets.dlas.stylegan2:Stylegan2Dataset",
    "imagefolder": "common.datasets.dlas.image_folder:ImageFolderDataset",
    "fullimage": "common.datasets.dlas.full_image:FullImageDataset",
    "multiscale": "common.datasets.dlas.multiscale:MultiScaleDataset",
    "torch_dataset": "common.datasets.dlas.torch_sets:TorchDataset",
}
