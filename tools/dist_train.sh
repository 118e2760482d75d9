#!/usr/bin/env bash
# Train on several GPUs (or, without one, with several CPU processes):
#   tools/dist_train.sh CONFIG NUM_PROCESSES [options of tools/train.py]
#   tools/dist_train.sh NUM_PROCESSES --student CFG --teacher CFG --recipe NAME ...
# Several machines: set NNODES, NODE_RANK, MASTER_ADDR and PORT on each.
set -euo pipefail
if [[ ${1:-} == -h || ${1:-} == --help ]]; then sed -n 2,5p "$0"; exit 0; fi
if [[ $# -lt 2 ]]; then sed -n 2,5p "$0" >&2; exit 2; fi
if [[ $1 =~ ^[0-9]+$ ]]; then PROCESSES=$1; shift; CONFIG=()
else CONFIG=("$1"); PROCESSES=$2; shift 2; fi
if [[ ! $PROCESSES =~ ^[0-9]+$ ]]; then
    echo "NUM_PROCESSES must be a number, not '$PROCESSES'" >&2; sed -n 2,5p "$0" >&2; exit 2
fi
exec "${PYTHON:-python}" -m torch.distributed.run --nnodes="${NNODES:-1}" \
    --node_rank="${NODE_RANK:-0}" --master_addr="${MASTER_ADDR:-127.0.0.1}" \
    --master_port="${PORT:-29500}" --nproc_per_node="$PROCESSES" \
    "$(dirname "$0")/train.py" "${CONFIG[@]}" --launcher pytorch "$@"
