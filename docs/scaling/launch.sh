#!/usr/bin/env bash
# Start a tool on this machine, as one of several machines that work on one folder:  launch.sh TOOL FLAGS...
# All of them see the same files under the same paths. Settings, with the scheduler's own where it has one:
#   NODES      machines (SLURM_NNODES; 1)
#   NODE_RANK  number of this one, from 0 (SLURM_NODEID, JOB_COMPLETION_INDEX; 0)
#   HEAD       name or address of machine 0 (the first of SLURM_JOB_NODELIST; 127.0.0.1), PORT a free port there (29500)
#   PROCESSES  processes on this machine (one for each GPU, else 1)
# The same command again goes on where it stopped, with any other number of machines and processes.
set -euo pipefail
PYTHON="${PYTHON:-python3}"
NODES="${NODES:-${SLURM_NNODES:-1}}"
NODE_RANK="${NODE_RANK:-${SLURM_NODEID:-${JOB_COMPLETION_INDEX:-0}}}"
PORT="${PORT:-29500}"
if [ -z "${HEAD:-}" ]; then
  HEAD=127.0.0.1
  [ -z "${SLURM_JOB_NODELIST:-}" ] || HEAD="$(scontrol show hostnames "$SLURM_JOB_NODELIST" | head -n 1)"
fi
if [ -z "${PROCESSES:-}" ]; then
  PROCESSES="$(nvidia-smi --list-gpus 2>/dev/null | wc -l || true)"
  [ "${PROCESSES:-0}" -gt 0 ] || PROCESSES=1
fi
[ $# -gt 0 ] || { echo "error: launch.sh: no tool. Write launch.sh TOOL FLAGS..." >&2; exit 2; }
tool="$1"
shift
exec "$PYTHON" -m torch.distributed.run --nnodes "$NODES" --node_rank "$NODE_RANK" --master_addr "$HEAD" \
  --master_port "$PORT" --nproc_per_node "$PROCESSES" -m "tools.$tool" "$@"
