# Sourced by table_qc_3.sh and table_qc_4.sh: sample quality of U-, QC- and C-NCSN++ with one of the paper's samplers.
# Needs TABLE (3 or 4), METHOD (an array of flags of `qc_ncsn sample`) and, for the folders of ODE samples, ODE=--ode.
# MODELS names the folder where table_qc_2.sh left its models; without it they are looked for below out/, or trained.
PYTHON="${PYTHON:-python3}"
SCALE="${SCALE:-small}"
OUT="${OUT:-$PWD/out/table-qc-$TABLE/$SCALE}"
qc() { "$PYTHON" -m tools.qc_ncsn "$@"; }
CHECK=() # DRY_RUN=1, at paper scale: check the files and the first command, compute nothing
[ -z "${DRY_RUN:-}" ] || CHECK=(--dry_run)

# sample_and_score WORKDIR CHECKPOINT SEED FLAGS...: samples, their features, distances; the reference is the train split.
sample_and_score() {
  local work=$1 checkpoint=$2 seed=$3 status=0
  shift 3
  qc sample --workdir "$work" --checkpoint "$checkpoint" --seed "$seed" "${METHOD[@]}" "$@" || status=$?
  if [ "$status" = 2 ] && [ "${work##*/}" = C ]; then # a C of so few steps diverges under the Langevin corrector
    echo "note: $work is left out of the table" >&2
    return 0
  fi
  [ "$status" = 0 ] || return "$status"
  qc eval encode --workdir "$work" $ODE --features small --encode_dataset --dataset digits
  qc eval fidis --workdir "$work" $ODE
  qc eval prdc --workdir "$work" $ODE
}

small_table() {
  export OMP_NUM_THREADS=1
  local models="${MODELS:-$PWD/out/table-qc-2/small}"
  TRAIN_ONLY=1 OUT="$models" bash "$(dirname "${BASH_SOURCE[0]}")/../table_qc_2.sh"
  local runs=(0/U 0/QC 0/C 1/U 1/QC 1/C 2/U 2/QC 2/C)
  every_other() { # FIRST
    local place run
    for ((place = $1; place < ${#runs[@]}; place += 2)); do
      run="${runs[place]}"
      sample_and_score "$OUT/seed$run" "$models/seed$run/checkpoints/checkpoint_13.pth" "${run%/*}" --num_samples 300 --quiet
    done
  }
  every_other 0 & local half=$!
  every_other 1
  wait "$half"
  local works=() names=() seed model work
  for seed in 0 1 2; do
    for model in U QC C; do
      work="$OUT/seed$seed/$model"
      [ ! -f "$work/eval_prdc${ODE:+_ode}/run.json" ] || works+=("$work") names+=("$model-NCSN++")
    done
  done
  qc compare --workdirs "${works[@]}" --names "${names[@]}" --output_dir "$OUT/table" \
    --title "Table $TABLE at small scale: 300 samples of 8x8 digits, three seeds (no number of the paper is at this scale)"
}

paper_table() {
  : "${DATA:?error: DATA: not given. Pass DATA=FOLDER that holds dataset_stat.npz of CIFAR-10.}"
  : "${CHECKPOINTS:?error: CHECKPOINTS: not given. Pass CHECKPOINTS=FOLDER that holds u.pth, qc.pth and c.pth.}"
  "$PYTHON" -m docs.chains.parts.wanted "qc-$TABLE" || [ -z "${DRY_RUN:-}" ] || exit 2
  local works=() names=() family file
  for family in u qc c; do
    file="$CHECKPOINTS/$family.pth"
    [ -f "$file" ] || { echo "note: $file is not there; its row is left out" >&2; continue; }
    qc sample --config "${family}_cifar10" --checkpoint "$file" --workdir "$OUT/$family" "${METHOD[@]}" "${CHECK[@]}"
    [ -z "${DRY_RUN:-}" ] || continue
    qc eval encode --workdir "$OUT/$family" $ODE --features inception
    qc eval fidis --workdir "$OUT/$family" $ODE --stats "$DATA/dataset_stat.npz"
    qc eval prdc --workdir "$OUT/$family" $ODE --stats "$DATA/dataset_stat.npz"
    works+=("$OUT/$family") names+=("${family^^}-NCSN++")
  done
  [ -z "${DRY_RUN:-}" ] || exit 0
  [ ${#works[@]} -gt 0 ] || { echo "error: $CHECKPOINTS: none of u.pth, qc.pth, c.pth is there. Train or copy them." >&2; exit 2; }
  qc compare --workdirs "${works[@]}" --names "${names[@]}" --output_dir "$OUT/table" --title "Table $TABLE on CIFAR-10, measured here"
  echo "Published (third-party index of the paper, for orientation): best FID on CIFAR-10 2.48."
}

if [ "$SCALE" = paper ]; then paper_table; else small_table; fi
"$PYTHON" -m docs.chains.parts.measured "qc-$TABLE" "$OUT"
