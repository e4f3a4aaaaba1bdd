#!/usr/bin/env bash
# The tables of the papers' comparison from the models that papers.sh made, or those in weights/papers.
#   papers_table.sh MEASURED MODELS PICTURES [LIMIT]
# PICTURES is the folder for the curves.
set -euo pipefail
measured=$1 models=$2 pictures=$3 limit=${4:-}
here=$(cd "$(dirname "$0")" && pwd)
benchmarks="$here/../../tests/benchmarks"
plain=("$models"/base.safetensors "$models"/dedicated-*.safetensors)
tuned=("$models"/*-{endpoint,path,joint}.safetensors)
several=()
for model in "${plain[@]}" "${tuned[@]}"; do several+=(-m "$model"); done
tunectl evaluate "$measured" "${several[@]}" --level 20,40,60,80 --alpha calibrated ${limit:+--limit "$limit"}
# Tuners have alpha, a number that is fitted. What the like is worth to the dedicated networks: a knob
# from the base to each of them.
room=$(mktemp -d)
trap 'rm -r "$room"' EXIT
for level in 40 60 80; do
    knob="$room/dedicated-$level.safetensors"
    tunectl interpolate "$models/base.safetensors" "$models/dedicated-$level.safetensors" --knob -o "$knob"
    tunectl evaluate "$measured" -m "$knob" --level "$level" --alpha 0.9,0.93,0.96,1 ${limit:+--limit "$limit"}
done
mkdir -p "$pictures"
python "$benchmarks/knob.py" "$measured" "${tuned[@]}" --limit "${limit:-12}" --plot "$pictures/white.png"
python "$benchmarks/filter_correlation.py" "${plain[@]}" --dni "$models/dni-endpoint.safetensors" \
    --plot "$pictures/correlation.png"
