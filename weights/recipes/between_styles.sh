#!/usr/bin/env bash
# From one style to another by every tuner, and the table and contact sheet of what comes out.
#   between_styles.sh PHOTOS CONTENT STYLES FIRST SECOND THIRD OUT [STEPS TUNED_STEPS]
# STYLES is a folder; FIRST, SECOND and THIRD are names of pictures in it, without their ending
# .jpg. The network of FIRST starts from the bundled starry-night, which can paint already. THIRD
# lies at alpha -1 of a Dynamic-Net with two ends; another one makes FIRST stronger.
set -euo pipefail
photos=$1 content=$2 styles=$3 first=$4 second=$5 third=$6 out=$7 steps=${8:-400} tuned=${9:-400}
here=$(cd "$(dirname "$0")" && pwd)
mkdir -p "$out"
shared=(--data "$photos" --exclude 'bsd_*' --validation "$content" --batch 2 --draws 1 --seed 0
    --patch 192 --warmup 30 --store fp16 --licence "MIT; sources in weights/README.md")
base="$out/$first.safetensors"
tunectl interpolate starry-night --alpha 1 -o "$out/start.safetensors"
tunectl train --task style --style "$styles/$first.jpg" --network transform-net \
    --network-field residual=true --start "$out/start.safetensors" "${shared[@]}" \
    --steps "$steps" --lr 1e-3 -o "$base"
models=()
onward() { # NAME STYLE TUNER [MORE...]
    tunectl finetune "$base" --style "$styles/$2.jpg" --from-style "$styles/$first.jpg" \
        --tuner "$3" "${@:4}" "${shared[@]}" --steps "$tuned" --lr 1e-3 -o "$out/$1.safetensors"
    models+=("$out/$1.safetensors")
}
onward ftn-path "$second" ftn --way path
onward ftn "$second" ftn --way endpoint
onward ftn-g16 "$second" ftn --tuner-field groups=16 --way endpoint
onward adafm "$second" adafm --tuner-field kernel=5 --way endpoint
onward dni "$second" dni --way endpoint
onward dynamic-net "$second" dynamic-net --way endpoint
onward two-ends "$second" dynamic-net --way path --lower-style "$styles/$third.jpg"
onward strength "$first" dynamic-net --way endpoint --task-field boost=10
python "$here/../../tests/benchmarks/style_knob.py" "${models[@]}" \
    --photos "$content" --styles "$styles" --sheet "$out/sheet.jpg"
