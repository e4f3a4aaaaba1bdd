#!/usr/bin/env bash
# The papers' comparison on equal terms: sigma 20 to 80, every tuner by the papers' way and by ours.
#   papers.sh PHOTOS VALIDATION MEASURED OUT [BASE_STEPS STEPS] [TRAIN OPTIONS...]
# PHOTOS to train on, VALIDATION to calibrate alpha on, MEASURED for the table; OUT is the folder for
# the models. One base, and from it: networks finetuned wholly for 40, 60 and 80, the dedicated ones;
# each tuner for as many steps; and jointly trained networks for as many as the two together. The
# last options go to every run: --network-field width=32 --network-field blocks=4 makes it small,
# --batch 16 --patch 96 is the papers' step. What is there already is not trained again.
set -euo pipefail
photos=$1 validation=$2 measured=$3 out=$4 base_steps=${5:-20000} steps=${6:-5000}
shift $(($# < 6 ? $# : 6))
here=$(cd "$(dirname "$0")" && pwd)
mkdir -p "$out"
common=(--data "$photos" --validation "$validation" --exclude 'bsd_*' --draws 1 --seed 0
    --store fp16 --licence "MIT; sources in weights/README.md")
network=() run=() # options of the network are the base's only
while [ $# -gt 0 ]; do
    if [ "$1" = --network-field ]; then network+=("$1" "$2"); else run+=("$1" "$2"); fi
    shift 2
done

learn() { # NAME COMMAND...
    [ -e "$out/$1.safetensors" ] || tunectl "${@:2}" "${common[@]}" "${run[@]}" -o "$out/$1.safetensors"
}
train=(train --task denoise --network adafm-net "${network[@]}")
learn base "${train[@]}" --level 20 --lr 1e-3 --steps "$base_steps"
for level in 40 60 80; do
    learn "dedicated-$level" "${train[@]}" --level "$level" --start "$out/base.safetensors" \
        --lr 5e-4 --steps "$steps"
done
tuned=()
tuner() { # NAME TUNER [FIELD]
    for way in endpoint path; do
        learn "$1-$way" finetune "$out/base.safetensors" --tuner "$2" ${3:+--tuner-field "$3"} \
            --way "$way" --level 80 --lr 5e-4 --steps "$steps"
        tuned+=("$out/$1-$way.safetensors")
    done
}
tuner dni dni
tuner adafm-1x1 adafm kernel=1
tuner adafm-5x5 adafm kernel=5
tuner ftn ftn
tuner ftn-gc4 ftn groups=4
tuner ftn-gc16 ftn groups=16
tuner dynamic-net dynamic-net
learn dni-joint "${train[@]}" --tuner dni --level 20-80 --lr 1e-3 --steps $((base_steps + steps))
learn ftn-joint "${train[@]}" --tuner ftn --level 20-80 --lr 1e-3 --steps $((base_steps + steps))
tuned+=("$out"/{dni,ftn}-joint.safetensors)

bash "$here/papers_table.sh" "$measured" "$out" "$out"
