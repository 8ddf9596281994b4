#!/usr/bin/env python3
"""What predictions are held to, on measurements of others: `tokengrid predict protocols` on a folder laid out as
../shared/data/perf, each figure beside its goal. Exit status 1 if one is missed.
   bench/predict/goals.py [--tokengrid build/tokengrid] [--train ../shared/data/perf] [--json FILE of an earlier run]"""
import argparse
import json
import pathlib
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
# Protocol, figure, at most; over all folds of a protocol, in which no row is predicted by a model that saw its group.
GOALS = [
    ("device", "tpot_median_ape", 0.15),
    ("model", "tpot_median_ape", 0.15),
    ("configuration", "tpot_median_ape", 0.07),
    ("few_shot", "tpot_median_ape", 0.08),
    ("device", "request_median_ape", 0.20),
    ("model", "request_median_ape", 0.20),
    ("configuration", "request_median_ape", 0.20),
    ("device", "device_seconds_median_ape", 0.20),
]
TIMES_BETTER = 2  # than the incumbent, on its own rows


def figures(options):
    if options.json:
        return json.loads(pathlib.Path(options.json).read_text(encoding="utf-8"))
    command = [options.tokengrid, "predict", "protocols", "--train", options.train, "--json"]
    return json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def rows(found):
    whole = {fold["protocol"]: fold for fold in found["folds"] if fold["fold"] == "all"}
    for protocol, figure, most in GOALS:
        fold = whole[protocol]
        yield f"{protocol}: {figure}", fold[figure], f"<= {most:.2f}", fold[figure] <= most
        if fold["coverage"] < 1:
            yield f"{protocol}: coverage", fold["coverage"], "= 1", False
    incumbent = found["incumbent"]
    for figure in ("tpot_median_ape", "ttft_median_ape", "request_median_ape"):
        times = incumbent["their_" + figure] / incumbent[figure]
        yield f"incumbent's {figure} over ours", times, f">= {TIMES_BETTER}", times >= TIMES_BETTER


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tokengrid", default=str(ROOT / "build" / "tokengrid"))
    parser.add_argument("--train", default=str(ROOT.parent / "shared" / "data" / "perf"))
    parser.add_argument("--json")
    is_met = True
    for name, value, goal, is_good in rows(figures(parser.parse_args())):
        is_met &= is_good
        print(f"{name:<45} {value:>8.3f}  {goal:<8} {'' if is_good else 'MISSED'}")
    return 0 if is_met else 1


if __name__ == "__main__":
    sys.exit(main())
