"""Activations -> PCA and UMAP map, table, figure, and an explorer page; measures of how far two sets overlap."""

from dataclasses import dataclass
from typing import List, Optional

from common import flags
from common.cli import leave, run
from common.options import CommonOptions, option

EPILOG = """\
a set is MODEL, DIR:MODEL or NAME=DIR:MODEL; it is read from DIR/metadata/MODEL and DIR/activations/MODEL

examples:
  process_embeddings --model imagenet_real --data_dir data
  process_embeddings --models real=data:imagenet_real generated=made:imagenet_real --output_dir maps
  process_embeddings --model imagenet_real --project imagenet --pca 50 --n_neighbors 30
"""


@dataclass(kw_only=True)
class MapOptions(CommonOptions):
    """Flags of `process_embeddings`."""

    model: Optional[str] = option(None, "the set: imagenet (generated), imagenet_real, or another folder in metadata/")
    models: List[str] = option([], "several sets on one map", nargs="+", metavar="SET")
    project: List[str] = option([], "sets projected into the fitted map of the others", nargs="+", metavar="SET")
    data_dir: str = option("data", "output directory of extract_real_imagenet and generate_dataset")
    output_dir: str = option("data/embeddings", "output directory", kind="how")
    layer: str = option("all", "layers to use, comma-separated, or all")
    n_neighbors: int = option(15, "UMAP: number of neighbours, 5 (local) to 100 (global)", low=2)
    min_dist: float = option(0.1, "UMAP: minimum distance of points in the map", low=0, high=1)
    metric: str = option("euclidean", "UMAP: distance between real vectors: euclidean, cosine, correlation, manhattan, "
                                      "chebyshev, minkowski, canberra or braycurtis")
    n_components: int = option(2, "dimensions of the map", choices=[2, 3])
    max_samples: Optional[int] = option(None, "use only the first N samples of each set", low=1, kind="total")
    no_normalize: bool = option(False, "skip the standardisation of each feature")
    pca: int = option(50, "principal components passed to UMAP; 0 for all features, unreduced", low=0)
    random_state: int = flags.seed("PCA, UMAP and the metrics", 42)
    fast: bool = option(False, "UMAP on all threads without a seed: faster, not reproducible")
    low_memory: bool = option(False, "never keep a copy of the activations in memory", kind="how")
    pickle: bool = option(False, "also write the original's .pkl (includes the training matrix)")
    explorer: bool = option(True, "write the explorer page")
    more_maps: List[str] = option([], "finished maps (their .json) to add as tabs of the page", nargs="+",
                                  metavar="FILE")
    title: str = option("", "title of the map on the page (default: the names of the sets)")
    atlas_mb: float = option(16.0, "maximum size of the page's thumbnails in MB", low=0, high=500)


def _main(options):
    from tools.process_embeddings.job import process

    return process(options)


def _place(options):
    from tools.process_embeddings.read import map_stem

    return map_stem(options) if options.model or options.models else None


def _show(results):
    from tools.process_embeddings.job import show

    show(results)


def cli(words=None):
    """Run the command on the given words (the process's own by default) and return its exit status."""
    return run(_main, MapOptions, "process_embeddings", __doc__, EPILOG, words, place=_place, show=_show)


if __name__ == "__main__":
    leave(cli)
