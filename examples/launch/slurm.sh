#!/usr/bin/env bash
# Train on 4 nodes of 8 GPUs under Slurm:  sbatch examples/launch/slurm.sh training.data.scenes=/data/packed/scenes.txt
#
# A job that is preempted or runs out of time is sent SIGTERM two minutes before: the run saves and ends, the job asks to
# be queued again, and the same command resumes. A node that dies ends the job within three minutes; it is queued again.
#SBATCH --job-name=rayzer
#SBATCH --nodes=4
#SBATCH --ntasks-per-node=1
#SBATCH --gpus-per-node=8
#SBATCH --cpus-per-task=64
#SBATCH --time=24:00:00
#SBATCH --signal=TERM@120
#SBATCH --requeue
#SBATCH --open-mode=append
#SBATCH --output=rayzer-%j.log
set -uo pipefail

first_node=$(scontrol show hostnames "$SLURM_JOB_NODELIST" | head -n 1)

srun torchrun \
  --nnodes "$SLURM_NNODES" \
  --nproc-per-node 8 \
  --rdzv-backend c10d \
  --rdzv-id "$SLURM_JOB_ID" \
  --rdzv-endpoint "$first_node:29500" \
  -m rayzer train --config rayzer_dl3dv training.output_dir=runs/dl3dv "$@"
code=$?

# 0: done. 1 and 2: something that starting again does not mend. Everything else was a signal or a lost node.
if [ "$code" -gt 2 ]; then
  scontrol requeue "$SLURM_JOB_ID"
fi
exit "$code"
