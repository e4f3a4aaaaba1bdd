#!/usr/bin/env bash
# The bundled starry-to-wheat: a knob between two styles that stand on one base, in seconds.
#   starry_to_wheat.sh OUT
set -euo pipefail
out=$(realpath "$1")
room=$(mktemp -d)
trap 'rm -rf "$room"' EXIT
cd "$room"
tunectl interpolate starry-night --alpha 1 -o starry.safetensors
tunectl interpolate wheat-field --alpha 1 -o wheat.safetensors
tunectl interpolate starry.safetensors wheat.safetensors --knob --store fp16 -o "$out" \
    --card "From Van Gogh's The Starry Night to his Wheat Field with Cypresses (1889)."
