#!/usr/bin/env bash
# QC-NCSN++ on scikit-learn's 8x8 digits: train U, then QC from it, and C from scratch; sample, measure, compare.
# Everything lands below out/demo/qc_ncsn. Run it again and it goes on from what is there.
set -euo pipefail
export OMP_NUM_THREADS="${OMP_NUM_THREADS:-1}"
PYTHON="${PYTHON:-python3}"
OUT="${OUT:-$PWD/out/demo/qc_ncsn}"
qc() { "$PYTHON" -m tools.qc_ncsn "$@"; }

# Likelihood, asymmetry, and 64 samples with their distance to the training images in a small feature space (which is
# never called FID).
measure() { # MODEL FLAGS...
  local work="$OUT/$1"
  shift
  qc eval nll --workdir "$work" --weights ema --num_images 30 "$@"
  qc eval asym --workdir "$work" --weights ema --num_images 100 --nl 20 "$@"
  score_samples "$work" --method multistep -- "$@"
  qc eval prdc --workdir "$work" "$@"
}
score_samples() { # WORKDIR SAMPLING FLAGS... -- FLAGS...
  local work="$1" sampling=()
  shift
  while [ "$1" != -- ]; do sampling+=("$1") && shift; done
  shift
  qc sample --workdir "$work" --num_samples 64 "${sampling[@]}" "$@"
  qc eval encode --workdir "$work" --features small --encode_dataset --dataset digits "$@"
  qc eval fidis --workdir "$work" "$@"
}

# What runs beside the rest keeps quiet, but for its name.
background=()
trap 'kill "${background[@]}" 2>/dev/null || true' EXIT
beside() { # TITLE FUNCTION
  echo "$1 in the background" >&2
  "$2" &
  background+=($!)
}

# 1. C from random weights, fewer steps, since each costs more.
conservative() {
  qc train --config c_digits --workdir "$OUT/C" --n_iters 100 --quiet
  measure C --quiet
}
beside "C-NCSN++ trains" conservative

# 2. One base U; from it U and QC for 100 steps more each, with the same images and noises.
qc train --config u_digits --workdir "$OUT/base" --n_iters 400
base="$OUT/base/checkpoints/checkpoint_4.pth"
more=(--restore "$base" --fresh_optimizer --n_iters 500 --config.optim.lr=1e-3 --config.optim.schedule=cosine)
qc train --config u_digits --workdir "$OUT/U" "${more[@]}"

# 3. The same U sampled as the paper does, with 2,000 network calls, and with as few as the multistep sampler takes,
# while QC trains.
paper_sampler() {
  local checkpoint="$OUT/U/checkpoints/checkpoint_5.pth"
  score_samples "$OUT/U_PC_2000" --checkpoint "$checkpoint" --method pc --num_scales 1000 -- --quiet
  score_samples "$OUT/U_PC_30" --checkpoint "$checkpoint" --method pc --num_scales 15 -- --quiet
}
beside "U by the paper's sampler" paper_sampler
qc train --config qc_digits --workdir "$OUT/QC" "${more[@]}"
measure U
measure QC

# 4. One table, one figure of samples, loss and asymmetry curves.
for job in "${background[@]}"; do wait "$job"; done
trap - EXIT
qc compare --workdirs "$OUT"/{U,QC,C,U_PC_2000,U_PC_30} --names U QC C "U, PC, 2,000 calls" "U, PC, 30 calls" \
  --output_dir "$OUT/table" --title "Three score models on 8x8 digits (table 2 at small scale), and U with the paper's sampler"
