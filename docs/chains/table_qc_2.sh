#!/usr/bin/env bash
# Table 2 of Chao et al. 2023: NLL, Asym and NAsym of U-, QC- and C-NCSN++.
#   SCALE=small (default): 8x8 digits, three seeds, the paper's protocol at a size that takes minutes.
#   TRAIN_ONLY=1 stops after the training of U, QC and C, for the tables that need the same models.
#   SCALE=paper: CIFAR-10 below DATA, and below CHECKPOINTS the trained u.pth, qc.pth and c.pth.
set -euo pipefail
PYTHON="${PYTHON:-python3}"
SCALE="${SCALE:-small}"
OUT="${OUT:-$PWD/out/table-qc-2/$SCALE}"
qc() { "$PYTHON" -m tools.qc_ncsn "$@"; }
CHECK=() # DRY_RUN=1, at paper scale: check the files and the commands, compute nothing
[ -z "${DRY_RUN:-}" ] || CHECK=(--dry_run)

if [ "$SCALE" = paper ]; then
  : "${DATA:?error: DATA: not given. Pass DATA=FOLDER that holds CIFAR-10.}"
  : "${CHECKPOINTS:?error: CHECKPOINTS: not given. Pass CHECKPOINTS=FOLDER that holds u.pth, qc.pth and c.pth.}"
  "$PYTHON" -m docs.chains.parts.wanted qc-2 || [ -z "${DRY_RUN:-}" ] || exit 2
  works=() names=()
  for family in u qc c; do
    file="$CHECKPOINTS/$family.pth"
    [ -f "$file" ] || { echo "note: $file is not there; its row is left out" >&2; continue; }
    model=(--config "${family}_cifar10" --checkpoint "$file" --workdir "$OUT/$family" --data_dir "$DATA")
    qc eval nll "${model[@]}" --bs 500 "${CHECK[@]}"
    qc eval asym "${model[@]}" --bs 500 "${CHECK[@]}"
    works+=("$OUT/$family") names+=("${family^^}-NCSN++")
  done
  [ ${#works[@]} -gt 0 ] || { echo "error: $CHECKPOINTS: none of u.pth, qc.pth, c.pth is there. Train or copy them." >&2; exit 2; }
  [ -z "${DRY_RUN:-}" ] || exit 0
  "$PYTHON" -m docs.chains.parts.measured qc-2 "$OUT"
  qc compare --workdirs "${works[@]}" --names "${names[@]}" --output_dir "$OUT/table" --title "Table 2 on CIFAR-10, measured here"
  echo "Published (third-party index of the paper, for orientation): best NLL on CIFAR-10 3.38 bits/dim."
  exit 0
fi

# One U checkpoint; from it, for as many steps with the same images, times and noises: U; QC with the paper's weight
# sigma^2; and a row of our own, the regulariser weighted by sigma^4. C from random weights, as many steps as U in all.
export OMP_NUM_THREADS=1
measure() { # DIR MODEL
  [ -z "${TRAIN_ONLY:-}" ] || return 0
  qc eval nll --workdir "$1/$2" --weights ema --num_images 100 --quiet
  qc eval asym --workdir "$1/$2" --weights ema --num_images 200 --nl 20 --quiet
  # The whole Jacobian of some images, to confirm the estimates.
  [ "$2" = C ] || qc eval asym --workdir "$1/$2" --weights ema --num_images 40 --nl 20 --exact --quiet
}

from_one_base() { # SEED: U, QC and our QC from one checkpoint
  local dir="$OUT/seed$1" model
  qc train --config u_digits --workdir "$dir/base" --seed "$1" --quiet
  local more=(--restore "$dir/base/checkpoints/checkpoint_10.pth" --fresh_optimizer --n_iters 1300 --seed "$1" --quiet
              --config.optim.lr=1e-3 --config.optim.schedule=cosine --config.optim.warmup=0)
  qc train --config u_digits --workdir "$dir/U" "${more[@]}"
  qc train --config qc_digits --workdir "$dir/QC" "${more[@]}" --balancing_fac 3e-3
  [ -n "${TRAIN_ONLY:-}" ] || qc train --config qc_digits --workdir "$dir/QC4" "${more[@]}" --reg_weight sigma4 --balancing_fac 1
  for model in U QC QC4; do measure "$dir" "$model"; done
}

from_scratch() { # SEED: C
  qc train --config c_digits --workdir "$OUT/seed$1/C" --n_iters 1300 --seed "$1" --quiet
  measure "$OUT/seed$1" C
}

echo "three seeds, two jobs at a time; run again to go on from what is there" >&2
job() { # FUNCTION SEED
  "$1" "$2"
  echo "$1, seed $2: done" >&2
}
export PYTHON OUT
export TRAIN_ONLY="${TRAIN_ONLY:-}"
export -f qc measure from_one_base from_scratch job
printf '%s\n' "from_one_base 0" "from_one_base 1" "from_one_base 2" "from_scratch 0" "from_scratch 1" "from_scratch 2" |
  xargs -P 2 -L 1 bash -euo pipefail -c 'job "$@"' job
[ -z "${TRAIN_ONLY:-}" ] || exit 0

works=() names=()
for seed in 0 1 2; do
  works+=("$OUT/seed$seed/U" "$OUT/seed$seed/QC" "$OUT/seed$seed/QC4" "$OUT/seed$seed/C")
  names+=("U-NCSN++" "QC-NCSN++ (paper: sigma^2, 3e-3)" "QC-NCSN++ (ours: sigma^4, 1)" "C-NCSN++")
done
qc compare --workdirs "${works[@]}" --names "${names[@]}" --output_dir "$OUT/table" \
  --title "Table 2 at small scale: 8x8 digits, three seeds, EMA weights (no number of the paper is at this scale)"
"$PYTHON" -m docs.chains.parts.measured qc-2 "$OUT"
