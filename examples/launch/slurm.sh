#!/usr/bin/env bash
# Train on 4 nodes of 8 GPUs under Slurm:  sbatch examples/launch/slurm.sh training.data.scenes=/data/packed/scenes.txt
#
# Slurm starts every process itself, so that signals reach it and its exit code comes back. A job that runs out of time
# is sent SIGTERM two minutes before: the run saves and ends, the job asks to be queued again, and the same command
# resumes. So does a job one of whose processes was lost.
#SBATCH --job-name=rayzer
#SBATCH --nodes=4
#SBATCH --ntasks-per-node=8
#SBATCH --gpus-per-node=8
#SBATCH --cpus-per-task=8
#SBATCH --time=24:00:00
#SBATCH --signal=TERM@120
#SBATCH --requeue
#SBATCH --open-mode=append
#SBATCH --output=rayzer-%j.log
set -uo pipefail

MASTER_ADDR=$(scontrol show hostnames "$SLURM_JOB_NODELIST" | head -n 1)
export MASTER_ADDR MASTER_PORT=29500 WORLD_SIZE=$SLURM_NTASKS LOCAL_WORLD_SIZE=$SLURM_NTASKS_PER_NODE

srun --kill-on-bad-exit=1 bash -c '
  export RANK=$SLURM_PROCID LOCAL_RANK=$SLURM_LOCALID
  exec rayzer train --config rayzer_dl3dv training.output_dir=runs/dl3dv "$@"' rayzer "$@"
code=$?

# 0: done. 1 and 2: something that starting again does not mend. Others: a signal (143), a lost process (75, 137).
if [ "$code" -gt 2 ]; then
  scontrol requeue "$SLURM_JOB_ID"
fi
exit "$code"
