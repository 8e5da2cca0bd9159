#!/usr/bin/env bash
# Ours: how few network calls the multistep sampler needs for the predictor-corrector sampler's Frechet distance.
# A U-NCSN++ of nf 16 on 32x32 photo patches; five seeds; distances in small-features-v1 (never called FID).
# SCALE=paper is not a table of the paper, so there is none; SAMPLES and SEEDS change the size.
set -euo pipefail
export OMP_NUM_THREADS="${OMP_NUM_THREADS:-1}"
PYTHON="${PYTHON:-python3}"
OUT="${OUT:-$PWD/out/table-qc-samplers}"
SAMPLES="${SAMPLES:-64}"
SEEDS="${SEEDS:-0 1 2 3 4}"
qc() { "$PYTHON" -m tools.qc_ncsn "$@"; }

qc train --config u_photos32 --workdir "$OUT/U" --quiet
checkpoint="$OUT/U/checkpoints/checkpoint_4.pth"

# one NAME SEED FLAGS...: one seed's samples by one method, their features and their distance to the train split.
one() {
  local work="$OUT/$1/seed$2" seed=$2
  shift 2
  qc sample --workdir "$work" --checkpoint "$checkpoint" --seed "$seed" --num_samples "$SAMPLES" --quiet "$@"
  qc eval encode --workdir "$work" --features small --encode_dataset --dataset photos32 --quiet
  qc eval fidis --workdir "$work" --quiet
  echo "${work#"$OUT"/} is done" >&2
}
every_run() { # the arguments of `one`, a line each: the long runs first
  local calls seed
  for seed in $SEEDS; do echo "pc_2000 $seed --method pc --num_scales 1000"; done
  for seed in $SEEDS; do echo "multistep_200 $seed --method multistep --num_steps 200"; done
  for calls in 100 50; do
    for seed in $SEEDS; do
      echo "multistep_$calls $seed --method multistep --num_steps $calls"
      echo "pc_$calls $seed --method pc --num_scales $((calls / 2))"
    done
  done
}
export PYTHON OUT SAMPLES checkpoint
export -f qc one
every_run | xargs -P 2 -L 1 bash -euo pipefail -c 'one "$@"' one  # two at a time

works=() names=()
for name in pc_2000 pc_100 pc_50 multistep_200 multistep_100 multistep_50; do
  for seed in $SEEDS; do works+=("$OUT/$name/seed$seed") names+=("$name"); done
done
qc compare --workdirs "${works[@]}" --names "${names[@]}" --output_dir "$OUT/table" \
  --title "Samplers on 32x32 photo patches: $SAMPLES samples, seeds $SEEDS (the number in a name is its network calls)"
"$PYTHON" -m docs.chains.parts.measured qc-samplers "$OUT"
