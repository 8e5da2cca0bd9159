#!/usr/bin/env bash
# Two embedded image sets compared in small-features-v1 (never called FID): patches of two photographs, 32x32, test
# against train, and 64x64 against 32x32. Everything lands below out/demo/metrics.
set -euo pipefail
export OMP_NUM_THREADS="${OMP_NUM_THREADS:-1}"
PYTHON="${PYTHON:-python3}"
OUT="${OUT:-$PWD/out/demo/metrics}"
export GENPROBE_CACHE="${GENPROBE_CACHE:-$OUT/.cache}" GENPROBE_STATS="$OUT/fid_stats"

"$PYTHON" -m tools.setup_fid --action compute_new --path photos32 --name photos32 --n_imgs 1500 --shuffle \
  --extractor small --kid -bs 256 "$@"
score() { # NAME DATASET FLAGS...
  local name="$1"
  shift
  "$PYTHON" -m tools.compute_fid clean "$@" --dataset_name photos32 --extractor small --metrics fid,kid,prdc,mind -bs 256 \
    --output_dir "$OUT/$name"
}
score unseen_photos32 photos32 --split test "$@"
score photos64 photos64 --split train --num_gen 800 "$@"
