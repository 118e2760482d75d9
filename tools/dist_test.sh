#!/usr/bin/env bash
# Evaluate on several GPUs (or with several CPU processes):
#   tools/dist_test.sh CONFIG CHECKPOINT NUM_PROCESSES [options of tools/test.py]
set -euo pipefail
if [[ ${1:-} == -h || ${1:-} == --help ]]; then sed -n 2,3p "$0"; exit 0; fi
if [[ $# -lt 3 || ! $3 =~ ^[0-9]+$ ]]; then sed -n 2,3p "$0" >&2; exit 2; fi
exec "${PYTHON:-python}" -m torch.distributed.run --nnodes="${NNODES:-1}" \
    --node_rank="${NODE_RANK:-0}" --master_addr="${MASTER_ADDR:-127.0.0.1}" \
    --master_port="${PORT:-29500}" --nproc_per_node="$3" \
    "$(dirname "$0")/test.py" "$1" "$2" --launcher pytorch "${@:4}"
