#!/usr/bin/env bash
# FID of a BlobGAN (Epstein et al. 2022; OCTET's on BDD100K). SCALE=small: Frechet distance in small-features-v1 of the demo's
# BlobGAN of three seeds to held-out streets, whole pictures.  SCALE=paper: the published checkpoint against BDD100K's
# validation images, prepared as the BlobGAN's training prepared them. No number of the paper could be confirmed.
set -euo pipefail
export OMP_NUM_THREADS="${OMP_NUM_THREADS:-1}"
PYTHON="${PYTHON:-python3}"
OUT="${OUT:-$PWD/out/table-blobgan-fid/${SCALE:-small}}"
CHECK=()
[ -z "${DRY_RUN:-}" ] || CHECK=(--dry_run)
if [ "${SCALE:-small}" = paper ]; then
  "$PYTHON" -m docs.chains.parts.wanted blobgan-fid
  STATS=(--weights "$CHECKPOINTS/pt_inception-2015-12-05-6726825d.pth" --stats_dir "$OUT/stats" --quiet "${CHECK[@]}")
  "$PYTHON" -m tools.setup_fid --action compute_new --path "$DATA/bdd100k/images/100k/val" --name bdd_rect_val_256 \
    --resolution 256 512 --fit squash "${STATS[@]}"
  [ -z "${DRY_RUN:-}" ] || exit 0
  "$PYTHON" -m tools.compute_fid clean "$CHECKPOINTS/blobgan_256x512.ckpt" --num_gen 50000 --dataset_name bdd_rect_val_256 \
    --output_dir "$OUT/seed0/distance" "${STATS[@]}"
  exec "$PYTHON" -m docs.chains.parts.measured blobgan-fid "$OUT"
fi
DEMO="${MADE:-$PWD/out/demo/counterfactuals}"
SCENES="$DEMO/.scenes"
[ -f "$SCENES/judge.json" ] || "$PYTHON" -m docs.chains.parts.streets make "$SCENES"
one() { # SEED FLAGS...: a BlobGAN of this seed and its distance to the held-out streets
  local seed=$1 best
  shift
  "$PYTHON" -m tools.train_blobgan --preset streets --data "$SCENES" --seed "$seed" --every_n_train_steps 200 --monitor train/fid \
    --save_top_k 1 --log_fid_every_n_steps 200 --fid_n_imgs 2000 --reference "$SCENES/val" --extractor small \
    --output_dir "$OUT/seed$seed/gan" --quiet "$@"
  [ -z "${DRY_RUN:-}" ] || return 0
  best="$("$PYTHON" -m docs.chains.parts.street_tables best "$OUT/seed$seed")"
  "$PYTHON" -m tools.compute_fid clean "$best" --num_gen 2000 --reference "$SCENES/val" --extractor small \
    --metrics fid,prdc -bs 256 --output_dir "$OUT/seed$seed/distance" --quiet
  echo "seed $seed is done" >&2
}
export PYTHON OUT SCENES
export -f one
for seed in ${SEEDS:-0 1 2}; do echo "$seed" "${CHECK[@]}"; done | xargs -P 2 -L 1 bash -euo pipefail -c 'one "$@"' one  # two at a time
[ -n "${DRY_RUN:-}" ] || "$PYTHON" -m docs.chains.parts.measured blobgan-fid "$OUT"
