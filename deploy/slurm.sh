#!/bin/bash
# A recipe on the nodes of a Slurm job, one worker per GPU: sbatch deploy/slurm.sh RECIPE OUT [options of `distill run`]
# OUT lies on a disk that all nodes share. The same command again goes on from where a job ended.
#SBATCH --job-name=distill
#SBATCH --nodes=2
#SBATCH --ntasks-per-node=1
#SBATCH --cpus-per-task=32
#SBATCH --gpus-per-node=4
#SBATCH --time=24:00:00
#SBATCH --signal=B:TERM@120
#SBATCH --requeue
#SBATCH --open-mode=append
set -euo pipefail

recipe=${1:?usage: sbatch deploy/slurm.sh RECIPE OUT [OPTION...]}
out=${2:?usage: sbatch deploy/slurm.sh RECIPE OUT [OPTION...]}
shift 2

# Ray runs whatever reaches its ports: only who has this file may send anything.
export RAY_AUTH_MODE=token RAY_AUTH_TOKEN_PATH="$out.ray-token" RAY_USAGE_STATS_ENABLED=0
mkdir -p "$(dirname "$out")"
(umask 077 && od -An -N32 -tx1 /dev/urandom | tr -d ' \n' >"$RAY_AUTH_TOKEN_PATH")

mapfile -t hosts < <(scontrol show hostnames "$SLURM_JOB_NODELIST") # all are read: a closed pipe would end scontrol, and the job with it
head=${hosts[0]}
port=$((20000 + SLURM_JOB_ID % 20000))
export RAY_ADDRESS="$head:$port"

ray=(ray start --block --disable-usage-stats --num-cpus "$SLURM_CPUS_PER_TASK")
srun --overlap --nodes=1 --ntasks=1 --nodelist="$head" "${ray[@]}" --head --port "$port" --include-dashboard=false &
if [ "$SLURM_JOB_NUM_NODES" -gt 1 ]; then
  others=$((SLURM_JOB_NUM_NODES - 1))
  srun --overlap --nodes="$others" --ntasks="$others" --exclude="$head" "${ray[@]}" --address "$RAY_ADDRESS" &
fi
for _ in $(seq 60); do # until all nodes are there
  nodes=$(python -c 'import ray; ray.init(log_to_driver=False, logging_level="ERROR"); print(len(ray.nodes()))' 2>/dev/null || echo 0)
  [ "$nodes" -ge "$SLURM_JOB_NUM_NODES" ] && break
  sleep 2
done

python -m distill run "$recipe" --out "$out" "$@" &
run=$!
trap 'kill -TERM "$run"' TERM # two minutes before the job ends: what is trained is saved
until wait "$run"; do
  status=$?
  kill -0 "$run" 2>/dev/null || exit "$status"
done
