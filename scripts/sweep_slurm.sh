#!/bin/sh
# A sweep as a Slurm array over a shared directory: each task runs its shard of the points, on as many threads as it has
# cores. Submitting it again continues; tasks that time out write checkpoints first.
# Usage: sbatch [--array=1-8] [--cpus-per-task=4] [--mem=8G] [--time=..] scripts/sweep_slurm.sh SWEEP.yaml DIR [OPTION...]
#SBATCH --job-name=mixflow-sweep
#SBATCH --array=1-8
#SBATCH --cpus-per-task=4
#SBATCH --mem=8G
#SBATCH --signal=B:TERM@60
#SBATCH --open-mode=append
set -eu

[ $# -ge 2 ] || {
  echo "usage: sbatch $0 SWEEP.yaml DIR [OPTION...]" >&2
  exit 2
}
sweep=$1 directory=$2
shift 2
# Slurm runs a copy of this script: the binary is sought from where it was submitted.
mixflow=${MIXFLOW:-${SLURM_SUBMIT_DIR:-.}/build/release/mixflow}
shard=$((SLURM_ARRAY_TASK_ID - SLURM_ARRAY_TASK_MIN + 1))/$SLURM_ARRAY_TASK_COUNT
# exec: the signal above then reaches mixflow itself.
exec "$mixflow" sweep "$sweep" --out "$directory" --shard "$shard" --threads "${SLURM_CPUS_PER_TASK:-1}" "$@"
