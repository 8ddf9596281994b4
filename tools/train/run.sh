#!/bin/sh
# Retrains both models, exports them to models/ and measures them.
#   tools/train/run.sh [--device cpu|cuda] [--preset tiny|bigger] [--minutes N] [--work DIR] [--seed N] [--python CMD] [--resume]
# Three quarters of the minutes go to the target, one quarter to the draft. With --steps and --draft-steps instead of
# --minutes the schedule does not depend on the speed of the machine.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
device=cpu preset=tiny minutes=80 seed=1 work="${TMPDIR:-/tmp}/tokengrid-train" python=python3 steps= draft_steps= resume= models="$here/../../models"
while [ $# -gt 0 ]; do
  case $1 in
    --device) device=$2; shift ;;
    --preset) preset=$2; shift ;;
    --minutes) minutes=$2; shift ;;
    --work) work=$2; shift ;;
    --seed) seed=$2; shift ;;
    --python) python=$2; shift ;;
    --steps) steps=$2; shift ;;
    --draft-steps) draft_steps=$2; shift ;;
    --models) models=$2; shift ;;
    --resume) resume=--resume ;;
    *) echo "unknown option $1" >&2; exit 2 ;;
  esac
  shift
done
case $preset in
  tiny) draft=draft name=tokengrid-tiny title="Tokengrid Tiny" ;;
  bigger) draft=bigger-draft name=tokengrid-small title="Tokengrid Small" ;;
  *) echo "presets: tiny, bigger" >&2; exit 2 ;;
esac
mkdir -p "$work" "$models"
# keep freed memory: fresh pages for every activation would cost a third of the time
export MALLOC_MMAP_THRESHOLD_=2000000000 MALLOC_TRIM_THRESHOLD_=4000000000 MALLOC_TOP_PAD_=100000000 PYTHONDONTWRITEBYTECODE=1

train() {  # preset, minutes, steps
  if [ -n "$3" ]; then set -- "$1" "$2" "--steps $3"; else set -- "$1" "$2" "--minutes $2"; fi
  # shellcheck disable=SC2086  # $3 and $resume are words or nothing
  "$python" "$here/train.py" --work "$work" --preset "$1" --device "$device" --seed "$seed" $3 $resume
}
train "$preset" $((minutes * 3 / 4)) "$steps"
train "$draft" $((minutes / 4)) "$draft_steps"
"$python" "$here/gguf_export.py" "$work/$preset.pt" "$work/vocab.json" "$models/$name.gguf" --name "$title"
"$python" "$here/gguf_export.py" "$work/$draft.pt" "$work/vocab.json" "$models/$name-draft.gguf" --name "$title Draft"
"$python" "$here/eval.py" "$models/$name.gguf" "$models/$name-draft.gguf" --samples \
  --probes "$models/probes.jsonl" --reference "$models/reference.json"
