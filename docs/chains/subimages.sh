#!/usr/bin/env bash
# scikit-learn's two bundled photographs -> a chunked data set of two scales, with a picture of where its tiles lie, and
# the same as tar shards. Everything lands below out/demo/subimages. Run it again and it answers from what is there.
set -euo pipefail
export OMP_NUM_THREADS="${OMP_NUM_THREADS:-1}"
PYTHON="${PYTHON:-python3}"
OUT="${OUT:-$PWD/out/demo/subimages}"
PHOTOS="$OUT/.photos" # hidden from the report, which would show them as results

mkdir -p "$PHOTOS"
"$PYTHON" - "$PHOTOS" <<'PYTHON'
import shutil
import sys
from importlib.resources import files
from pathlib import Path

for name in ("china.jpg", "flower.jpg"):
    if not (Path(sys.argv[1]) / name).exists():
        shutil.copyfile(files("sklearn.datasets.images") / name, Path(sys.argv[1]) / name)
PYTHON

extract() { # NAME FLAGS...
  local name="$1"
  shift
  "$PYTHON" -m tools.extract_subimages --input_folder "$PHOTOS" --save_folder "$OUT/$name" --crop_sz 128 256 --step 64 128 \
    --thres_sz 64 --resize_final_img 1 .5 --min_size 256 --n_thread 0 "$@"
}
extract tiles --preview 2 "$@"
extract shards --layout packed "$@"
"$PYTHON" -m tools.extract_subimages inspect "$OUT/tiles" --preview 0 "$@"

# What training sees: tiles clean, corrupted, and where they lie; the tree of patches of the multiscale data set. Pictures of
# tiles that have not changed are not drawn again.
cat > "$OUT/.data.yml" <<YAML
scale: 4
datasets:
  train: {mode: single_image_extensible, paths: "$OUT/tiles", target_size: 128, need_ref: true, needs_metadata: true,
          fixed_corruptions: [jpeg-broad, gaussian_blur]}
  tree: {mode: multiscale, paths: "$PHOTOS", hq_tile_size: 64, num_scales: 3, target_size: 64}
YAML
items() { # PICTURE FLAGS...
  local picture="$OUT/$1"
  shift
  [ "$picture" -nt "$OUT/tiles/run.json" ] || "$PYTHON" -m tools.extract_subimages items "$OUT/.data.yml" --output "$picture" "$@"
}
items pairs.png "$@"
items multiscale_tree.png --block tree --num 2 "$@"
"$PYTHON" -m tools.extract_subimages inspect "$OUT/shards" --preview 0 "$@"
