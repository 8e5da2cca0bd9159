#!/usr/bin/env bash
# Digits of a small StyleGAN2 with their style vectors -> an encoder with intervals -> what it says of fresh digits at
# three resize factors -> the one lambda that keeps the risk below 10 %, checked on digits it was not chosen on, on the real
# scans (which have no style vectors) and on corrupted ones. Everything lands below out/demo/intervals; run it again and it
# answers from what is there.
set -euo pipefail
export OMP_NUM_THREADS="${OMP_NUM_THREADS:-1}"
PYTHON="${PYTHON:-python3}"
OUT="${OUT:-$PWD/out/demo/intervals}"
SEED="${SEED:-0}" # of the encoder
GENERATOR="$OUT/.generator" IMAGES="$OUT/.images" # hidden from the report, which would show each image
TREE=(--base_dir "$OUT" --exp_name digits)
LEVELS=(--resize_factors 1 4 8 --difficulty_levels easy medium hard --dims "$GENERATOR/dims.txt")

# A generator whose digits can be read, and digits from it: image n of a folder depends on the seed and n alone.
[ -f "$GENERATOR/generator.pt" ] || "$PYTHON" -m docs.chains.parts.digit_generator "$GENERATOR"
cp -u "$GENERATOR/digits.png" "$OUT/"
digits() { # FOLDER SEED COUNT FLAGS...
  local folder="$1" seed="$2" count="$3"
  shift 3
  "$PYTHON" -m tools.generate_ffhq --stylegan_path "$GENERATOR/generator.pt" --seed "$seed" --num_images "$count" \
    --output_base_dir "$IMAGES/$folder" "$@"
}
digits train 1 400 "$@"
digits val 3 200 "$@"
digits test 2 2000 "$@"

# The encoder, for three factors at once, and its outputs on digits that it has not seen.
"$PYTHON" -m tools.train_quantile_encoder --generated_train_data_path "$IMAGES/train/generated/1x" \
  --stylegan_weights "$GENERATOR/generator.pt" --encoder_type small --resize_factors 1 4 8 --batch_size 64 --max_steps 400 \
  --optim_name adam --learning_rate 4e-3 --warmup 50 --lr_decay cosine --workers 0 --image_interval 0 \
  --dims "$GENERATOR/dims.txt" --val_data_path "$IMAGES/val/generated/1x" --test_batch_size 64 --seed "$SEED" \
  --exp_dir "$OUT/digits" "$@"
encode() { # FACTOR IMAGES OUTPUT FLAGS...
  local factor="$1" images="$2" output="$3"
  shift 3
  "$PYTHON" -m tools.generate_outputs_npz "${TREE[@]}" --resize_factor "$factor" --image_dir "$images" \
    --output_path "$output" "$@"
}
for factor in 1 4 8; do
  encode "$factor" "$IMAGES/test/generated/1x" "$OUT/digits/data/calibration_set_outputs_generated_data/$factor/outputs.npz" "$@"
done

# One lambda for the mean over the levels; one for each level, all of which hold at once.
"$PYTHON" -m tools.calibrate_rcps "${TREE[@]}" "${LEVELS[@]}" --total_runs 200 --calibration_share 0.25 "$@"
"$PYTHON" -m tools.calibrate_rcps "${TREE[@]}" "${LEVELS[@]}" --total_runs 20 --levels_as each_together \
  --output_dir "$OUT/each_together" "$@"

# What it looks like, what it says of the real scans, and where the promise ends.
"$PYTHON" -m tools.calibrate_rcps figures "${TREE[@]}" --output_dir "$OUT/figures" "$@"
"$PYTHON" -m tools.calibrate_rcps endpoints "${TREE[@]}" --stylegan_path "$GENERATOR/generator.pt" --image_index 0 7 12 \
  --output_dir "$OUT/endpoints" "$@"
encode 1 "$GENERATOR/scans" "$OUT/scans/outputs.npz" "$@"
"$PYTHON" -m tools.calibrate_rcps apply "${TREE[@]}" --outputs easy="$OUT/scans/outputs.npz" --output_dir "$OUT/scans/sets" "$@"
"$PYTHON" -m tools.calibrate_rcps experiments "${TREE[@]}" "${LEVELS[@]}" --experiment stress_test --image_dir \
  "$IMAGES/test/generated/1x" --num_samples 80 --encoder_size 16 --output_dir "$OUT/.stress" "$@"
"$PYTHON" -m docs.chains.parts.interval_tables demo "$OUT"
