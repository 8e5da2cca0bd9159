"""The modes of whole-image data sets and their classes, for the registry (common.datasets.options)."""

MODES = {
    "stylegan2": "common.datasets.stylegan2:Stylegan2Dataset",
    "imagefolder": "common.datasets.image_folder_options:ImageFolderDataset",
    "fullimage": "common.datasets.full_image:FullImageDataset",
    "multiscale": "common.datasets.multiscale:MultiScaleDataset",
    "torch_dataset": "common.datasets.torch_sets:TorchDataset",
}
