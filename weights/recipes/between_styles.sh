#!/usr/bin/env bash
# From one style to another by every tuner, and the table and contact sheet of what comes out.
#   between_styles.sh PHOTOS CONTENT STYLES FIRST SECOND OUT [STEPS] [TUNED_STEPS]
# STYLES is a folder; FIRST and SECOND are names of pictures in it, without their ending .jpg.
set -euo pipefail
photos=$1 content=$2 styles=$3 first=$4 second=$5 out=$6 steps=${7:-1200} tuned=${8:-600}
here=$(cd "$(dirname "$0")" && pwd)
mkdir -p "$out"
shared=(--data "$photos" --exclude 'bsd_*' --validation "$content" --batch 2 --draws 1 --seed 0
    --patch 192 --warmup 30 --licence "MIT; sources in weights/README.md")
tunectl train --task style --style "$styles/$first.jpg" --network transform-net "${shared[@]}" \
    --steps "$steps" --lr 2e-3 -o "$out/$first.safetensors"
onward() { # NAME TUNER [MORE...]
    tunectl finetune "$out/$first.safetensors" --style "$styles/$second.jpg" \
        --from-style "$styles/$first.jpg" --tuner "$2" "${@:3}" "${shared[@]}" --steps "$tuned" \
        --lr 1e-3 --store fp16 -o "$out/$1.safetensors"
}
onward dni dni --way endpoint
onward adafm adafm --tuner-field kernel=5 --way endpoint
onward dynamic-net dynamic-net --way endpoint
onward ftn ftn --way endpoint
onward ftn-g16 ftn --tuner-field groups=16 --way endpoint
onward ftn-path ftn --way path
python "$here/../../tests/benchmarks/style_knob.py" \
    "$out"/{dni,adafm,dynamic-net,ftn,ftn-g16,ftn-path}.safetensors \
    --photos "$content" --styles "$styles" --sheet "$out/sheet.png"
