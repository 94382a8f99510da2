#!/usr/bin/env bash
# A search on the nodes of a Slurm job: sbatch examples/cluster/slurm.sh search.yaml [options of autoft search]
# Sent again after it ended or was cut off, it goes on where it stopped: the run lies under --storage-path, on a file
# system that all nodes share. autoft must be on the PATH of all nodes, in the same version.
#SBATCH --job-name=autoft
#SBATCH --nodes=2
#SBATCH --ntasks-per-node=1
#SBATCH --cpus-per-task=8
#SBATCH --gpus-per-node=1
#SBATCH --time=04:00:00
#SBATCH --signal=B:TERM@120
set -eu

config=${1:?give a search.yaml}
shift

# Everybody with an account reaches a node's ports, so Ray asks for a token. It is this job's own, in a file that only you
# can read, and never on a command line.
umask 077
folder=$PWD/.autoft-$SLURM_JOB_ID
mkdir -p "$folder"
python3 -c 'import secrets; print(secrets.token_hex(32), end="")' >"$folder/token"
export RAY_AUTH_MODE=token RAY_AUTH_TOKEN_PATH=$folder/token RAY_USAGE_STATS_ENABLED=0
umask 022

search=
finish() {
    [ -z "$search" ] || kill "$search" 2>/dev/null || true
    for job in $(jobs -p); do kill "$job" 2>/dev/null || true; done
    wait || true
    rm -rf "$folder"
}
trap finish EXIT

head=$(scontrol show hostnames "$SLURM_JOB_NODELIST" | head -n 1)
workers=$((SLURM_JOB_NUM_NODES - 1))
address=$(srun --overlap --nodes=1 --ntasks=1 --nodelist="$head" hostname --ip-address | awk '{print $1}')
port=$((20000 + SLURM_JOB_ID % 20000)) # other people's jobs may share the node

srun --overlap --nodes=1 --ntasks=1 --nodelist="$head" \
    ray start --head --block --node-ip-address="$address" --port="$port" --num-cpus="${SLURM_CPUS_PER_TASK:-1}" \
    --include-dashboard=false --disable-usage-stats &
tries=60
until ray health-check --address="$address:$port" >/dev/null 2>&1; do
    tries=$((tries - 1))
    [ "$tries" -gt 0 ] || { echo "Ray did not start on $head" >&2; exit 1; }
    sleep 2
done
if [ "$workers" -gt 0 ]; then
    srun --overlap --nodes="$workers" --ntasks="$workers" --ntasks-per-node=1 --exclude="$head" \
        ray start --block --address="$address:$port" --num-cpus="${SLURM_CPUS_PER_TASK:-1}" --disable-usage-stats &
fi

# Two minutes before the time is up Slurm sends TERM to this script: the search keeps what it has and can go on later.
autoft search --config "$config" --address "$address:$port" "$@" &
search=$!
trap 'kill -TERM "$search"' TERM
code=0
wait "$search" || code=$?
while kill -0 "$search" 2>/dev/null; do # a signal ends the wait, not the search
    wait "$search" || code=$?
done
search=
exit "$code"
