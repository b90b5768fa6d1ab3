#!/bin/bash
# sbatch deploy/slurm.sh
#
# A Ray cluster within one Slurm job, one Ray node per Slurm node, and the search on it. The job may be killed at
# any moment and submitted again: the study goes on where it was.
#SBATCH --job-name=rapl
#SBATCH --partition=gpu            # CHANGE: a partition with GPUs
#SBATCH --nodes=2                  # CHANGE: how many nodes
#SBATCH --gpus-per-node=8          # CHANGE: GPUs of a node
#SBATCH --cpus-per-task=64         # CHANGE: cores of a node
#SBATCH --time=24:00:00            # CHANGE: the partition's limit
#SBATCH --ntasks-per-node=1
#SBATCH --exclusive
#SBATCH --requeue
#SBATCH --output=rapl-%j.log
set -euo pipefail

project=$HOME/rapl                 # CHANGE: this project, on a file system that all nodes see
shared=$HOME                       # CHANGE: holds faces/ and weights/, gets runs/; all nodes see it
# shellcheck source=/dev/null
. "$project/.venv/bin/activate"    # CHANGE: the environment it was installed in
cd "$project"

# Nobody else on these nodes can join without the token.
RAY_AUTH_TOKEN=$(python -c "import secrets; print(secrets.token_hex(32))")
export RAY_AUTH_TOKEN RAY_AUTH_MODE=token RAY_USAGE_STATS_ENABLED=0
head=$(scontrol show hostnames "$SLURM_JOB_NODELIST" | head -n 1)
address=$head:$((20000 + SLURM_JOB_ID % 10000))   # two jobs may share a node's network
# A short path: Ray's sockets lie in it.
node=(ray start --block --num-cpus="$SLURM_CPUS_PER_TASK" --num-gpus="$SLURM_GPUS_ON_NODE")
srun --nodes=1 --ntasks=1 --nodelist="$head" --export=ALL \
  "${node[@]}" --head --port="${address##*:}" --temp-dir="/tmp/ray-$SLURM_JOB_ID" &
# `ray health-check` answers before the head has joined itself, and who comes then is refused.
until python -c "import ray; ray.init(address='$address', logging_level='ERROR')" 2> /dev/null; do
  kill -0 $! || { echo "Ray's head ended; its words are above" >&2; exit 3; }
  sleep 2
done
if [ "$SLURM_JOB_NUM_NODES" -gt 1 ]; then
  srun --nodes=$((SLURM_JOB_NUM_NODES - 1)) --ntasks=$((SLURM_JOB_NUM_NODES - 1)) --exclude="$head" --export=ALL \
    "${node[@]}" --address="$address" &
fi

# When this ends, Slurm ends the Ray nodes with the job.
python -m orchestration.tune --space rapl.yaml --address "$address" storage="$shared/runs" \
  data.root="$shared/faces/agedb" model.backbone.weights="$shared/weights/ir50.pth"
