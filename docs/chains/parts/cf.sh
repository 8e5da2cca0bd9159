# Sourced by table_cf_features.sh and table_cf_inversion.sh: `search NAME FLAGS...` makes and evaluates counterfactuals,
# `invert NAME FLAGS...` reconstructions, below OUT, on the demo's streets or (SCALE=paper) on BDD100K.
# DRY_RUN=1 checks the commands and computes nothing. MADE: a folder where the demo's models are already, IMAGES: scenes (96).
export OMP_NUM_THREADS="${OMP_NUM_THREADS:-1}"
PYTHON="${PYTHON:-python3}"
SCALE="${SCALE:-small}"
OUT="${OUT:-$PWD/out/table-$TABLE/$SCALE}"
CHECK=()
[ -z "${DRY_RUN:-}" ] || CHECK=(--dry_run)
if [ "$SCALE" = paper ]; then
  "$PYTHON" -m docs.chains.parts.wanted "$TABLE"
  MODELS=(--blobgan_weights "$CHECKPOINTS/blobgan_256x512.ckpt" --decision_model_weights "$CHECKPOINTS/decision_densenet.tar"
          --encoder_weights "$CHECKPOINTS/encoder_256x512.pt" --lpips_weights "$CHECKPOINTS/vgg16-397923af.pth"
          --dataset_path "$DATA/bdd100k/images/100k/val" --preset rect)
  MEASURE=(--extractor inception --weights "$CHECKPOINTS/pt_inception-2015-12-05-6726825d.pth")
else
  DEMO="${MADE:-$PWD/out/demo/counterfactuals}"
  [ -n "${MADE:-}" ] || OUT="$DEMO" bash "$(dirname "${BASH_SOURCE[0]}")/../counterfactuals.sh" --quiet
  MODELS=(--blobgan_weights "$("$PYTHON" -m docs.chains.parts.street_tables best "$DEMO")"
          --decision_model_weights "$DEMO/decision/checkpoint.tar" --encoder_weights "$DEMO/encoder_train/best.pt"
          --perceptual "$DEMO/oracle/checkpoint.tar" --dataset_path "$DEMO/.scenes/val" --max_images "${IMAGES:-96}" --bs 24
          --preset streets)
  MEASURE=(--extractor small --oracle "$DEMO/oracle/checkpoint.tar")
fi
search() { # NAME FLAGS...
  local name="$1"
  shift
  "$PYTHON" -m tools.blobex_inv_cf "${MODELS[@]}" --output_dir "$OUT/$name" --quiet "${CHECK[@]}" "$@"
  if [ -z "${DRY_RUN:-}" ]; then
    "$PYTHON" -m tools.evaluate_cf "$OUT/$name" "${MEASURE[@]}" --output_dir "$OUT/$name/evaluation" --quiet
  fi
}
