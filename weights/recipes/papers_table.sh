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
mkdir -p "$pictures"
python "$benchmarks/knob.py" "$measured" "${tuned[@]}" --limit "${limit:-12}" --plot "$pictures/white.png"
python "$benchmarks/filter_correlation.py" "${plain[@]}" --dni "$models/dni-endpoint.safetensors" \
    --plot "$pictures/correlation.png"
