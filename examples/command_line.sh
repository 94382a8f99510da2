#!/bin/sh
# The command line from groups to replay: sh examples/command_line.sh [DATA [SEARCH OPTIONS...]]
# DATA is a folder with one folder per class, a .csv, .parquet or .npz file, or digits.
set -eu

DATA=${1:-digits}
if [ $# -gt 0 ]; then shift; fi

# What can be unfrozen, and what it costs.
autoft groups tf_efficientnet_lite0 --image-size 64

# Search; options after DATA come last and win.
autoft search --model tf_efficientnet_lite0 --data "$DATA" --name example --storage-path runs \
    --set data.image_size=64 --num-samples 8 --time-budget 3m "$@"

# The recipe, and why it won; in a pipe the reasons are YAML comments.
autoft best runs/example > example_recipe.yaml

# Replay it: recipe, model and metrics are written to runs/example/replay.
autoft train example_recipe.yaml --data "$DATA" --out runs/example/replay
