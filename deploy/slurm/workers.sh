#!/bin/bash
# 16 bloodsearch workers for the study bloodmnist, written by `bloodsearch submit slurm`.
# Submit it with sbatch. To add workers, submit it again.
#
# Every worker needs the database, the data and the checkpoints:
#   - the database's password in ~/.pgpass (one line HOST:PORT:DATABASE:USER:PASSWORD, mode 0600), never here
#   - the data set and the checkpoints on a file system that all nodes see
#SBATCH --job-name=bloodsearch-bloodmnist
#SBATCH --array=0-15
#SBATCH --ntasks=1
#SBATCH --cpus-per-task=1
#SBATCH --mem=2048M
#SBATCH --time=1-00:00:00
#SBATCH --output=%x-%A_%a.log
# a job that is preempted, or whose node fails, waits in the queue again and appends to its log
#SBATCH --requeue
#SBATCH --open-mode=append
# SIGTERM 60 s before the time limit; a worker puts its trial back within 5 s
#SBATCH --signal=B:TERM@60
set -u

export BLOODSEARCH_STORAGE=postgresql+psycopg://me@db.example/bloodsearch
# a worker that grows past this many MiB is replaced between two trials
export BLOODSEARCH_WORKER_MB=1536

# Exit code of a step that a signal ended. `bloodsearch stop` ends a worker with 130, and then nothing is queued again.
PREEMPTED=99

# What srun runs. Slurm may signal the step, this script or both, so each passes SIGTERM to its child.
STEP='
signalled= worker=
# set before the worker starts, or a signal could come between
trap "again=yes; signalled=yes; kill -TERM \$worker 2>/dev/null" TERM
bloodsearch "$@" &
worker=$!
[ -z "$signalled" ] || kill -TERM "$worker" 2>/dev/null
# a signal ends `wait`, not the worker
again=yes
while [ -n "$again" ]; do again=; wait "$worker"; code=$?; done
[ -n "$signalled" ] && [ "$code" -ne 0 ] && exit '$PREEMPTED'
exit "$code"
'

signalled= step=
trap 'again=yes; signalled=yes; kill -TERM $step 2>/dev/null' TERM
srun bash -c "$STEP" step worker bloodmnist --devices cpu --workers 1 &
step=$!
[ -z "$signalled" ] || kill -TERM "$step" 2>/dev/null
again=yes
while [ -n "$again" ]; do again=; wait "$step"; code=$?; done

if [ "$code" -eq "$PREEMPTED" ]; then
  # after a preemption Slurm may have queued the job already: not an error
  scontrol requeue "$SLURM_JOB_ID" || true
  exit 0
fi
exit "$code"
