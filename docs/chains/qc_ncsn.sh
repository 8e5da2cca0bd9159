#!/usr/bin/env bash
# QC-NCSN++ on scikit-learn's 8x8 digits: train U, then QC from it, and C from scratch; sample, measure, compare.
# Everything lands below out/demo/qc_ncsn. Run it again and it goes on from what is there.
set -euo pipefail
export OMP_NUM_THREADS="${OMP_NUM_THREADS:-1}"
PYTHON="${PYTHON:-python3}"
OUT="${OUT:-$PWD/out/demo/qc_ncsn}"
qc() { "$PYTHON" -m tools.qc_ncsn "$@"; }

# 1. Train. One base U; from it U and QC for as many steps again each, with the same images and noises; C from random
#    weights, fewer steps (each costs more).
qc train --config u_digits --workdir "$OUT/base" --n_iters 600
base="$OUT/base/checkpoints/checkpoint_6.pth"
more=(--restore "$base" --fresh_optimizer --n_iters 800 --config.optim.lr=1e-3 --config.optim.schedule=cosine)
qc train --config u_digits --workdir "$OUT/U" "${more[@]}"
qc train --config qc_digits --workdir "$OUT/QC" "${more[@]}"
qc train --config c_digits --workdir "$OUT/C" --n_iters 400

# 2. Sample with the stochastic multistep sampler, and the QC model with the paper's sampler for comparison.
for model in U QC C; do
  qc sample --workdir "$OUT/$model" --num_samples 300 --method multistep
done

# 3. Measure: likelihood, asymmetry, and sample quality in a small feature space (never called FID).
for model in U QC C; do
  qc eval nll --workdir "$OUT/$model" --weights ema --num_images 60
  qc eval asym --workdir "$OUT/$model" --weights ema --num_images 100 --nl 20
  qc eval encode --workdir "$OUT/$model" --features small --encode_dataset --dataset digits
  qc eval fidis --workdir "$OUT/$model"
  qc eval prdc --workdir "$OUT/$model"
done

# 4. One table, one figure of samples, loss and asymmetry curves.
qc compare --workdirs "$OUT/U" "$OUT/QC" "$OUT/C" --names U QC C --output_dir "$OUT/table"
