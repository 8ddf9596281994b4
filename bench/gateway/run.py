#!/usr/bin/env python3
"""The gateway benchmark: python3 bench/gateway/run.py [cpu] [--rounds N] [--json FILE]. README.md says what it measures.

Build first: cmake --preset bench && ninja -C build/bench gateway_mock gateway_load tokengrid
"""
import argparse
import json
import os
import platform
import random
import statistics
import subprocess
import sys

import paths
from paths import Bench, Unavailable, on_core

STARTERS = {
    "nginx": paths.start_nginx,
    "haproxy": paths.start_haproxy,
    "portkey": paths.start_portkey,
    "tokengrid": paths.start_tokengrid,
}
CONTENT_BYTES = 760  # a whole reply is then about 1 KB
TOKENS = 200


def write_body(bench, name, **fields):
    """A request of about 0.5 KB."""
    text = ("The quick brown fox jumps over the lazy dog and runs into the dark forest. " * 8)[:360]
    body = {"model": paths.MODEL, "messages": [{"role": "system", "content": "You are a helpful assistant."},
                                               {"role": "user", "content": text}], "max_tokens": TOKENS, **fields}
    file = bench.file(name + ".json")
    with open(file, "w") as f:
        json.dump(body, f)
    return file


def load(bench, path, mode, body, *args):
    command = [os.path.join(bench.binaries, "gateway_load"), mode, "--port", str(path.port), "--body", body]
    for pid in path.pids:
        command += ["--pid", str(pid)]
    for header in path.headers:
        command += ["--header", header]
    command += [str(arg) for arg in args]
    done = subprocess.run(on_core(bench.load_core, command), capture_output=True, text=True)
    if done.returncode != 0:
        raise RuntimeError(f"{path.name}: {done.stderr}")
    return json.loads(done.stdout)


def start_all(bench, names, upstream):
    """Those that can be had; the others are said."""
    started = []
    for name in names:
        try:
            started.append(STARTERS[name](bench, upstream))
        except Unavailable as why:
            print(f"{name} is left out: {why}", file=sys.stderr)
    return started


def interleave(all_paths, rounds, measure, seed=1):
    """measure(path) for each path in each round, in a fresh random order; results by name."""
    order = random.Random(seed)
    results = {path.name: [] for path in all_paths}
    for _ in range(rounds):
        shuffled = list(all_paths)
        order.shuffle(shuffled)
        for path in shuffled:
            results[path.name].append(measure(path))
    return results


def middle(values):
    return statistics.median(values)


def spread(values, digits=1):
    return f"{middle(values):.{digits}f} ({min(values):.{digits}f}–{max(values):.{digits}f})"


def table(head, rows):
    widths = [max(len(str(row[i])) for row in [head, *rows]) for i in range(len(head))]
    lines = ["| " + " | ".join(str(cell).ljust(width) for cell, width in zip(row, widths)) + " |" for row in [head, *rows]]
    lines.insert(1, "|" + "|".join("-" * (width + 2) for width in widths) + "|")
    print("\n".join(lines) + "\n")


def run_cpu(bench, o):
    """CPU per whole request in a closed loop."""
    upstream = bench.mock("--content-bytes", CONTENT_BYTES)
    started = start_all(bench, o.paths, upstream)
    body = write_body(bench, "whole")
    try:
        results = interleave([upstream, *started], o.rounds, lambda path: load(
            bench, path, "closed", body, "--clients", o.clients, "--warmup", 0.3 if path.name != "portkey" else 1,
            "--seconds", o.seconds))
    finally:
        for path in [*started, upstream]:
            path.stop()
    rows = []
    base = middle([r["cpu_us_each"] for r in results["nginx"]]) if "nginx" in results else 0
    for name, runs in results.items():
        each = [r["cpu_us_each"] for r in runs]
        failed = sum(n for r in runs for status, n in r["statuses"].items() if status != "200")
        rows.append([name, spread(each), f"{middle(each) / base:.2f}" if base else "-",
                     f"{middle([r['ok'] / r['seconds'] for r in runs]):.0f}", runs[-1]["body_bytes"],
                     f"{runs[-1]['rss_kib'] / 1024:.1f}", failed])
    print(f"CPU per request, {o.clients} clients in a closed loop, {o.rounds} rounds of {o.seconds} s")
    table(["path", "CPU µs/request (min–max)", "× nginx", "requests/s", "reply bytes", "RSS MiB", "not 200"], rows)
    return results


RUNS = {"cpu": run_cpu}


def conditions():
    with open("/proc/cpuinfo") as f:
        cpu = next((line.split(":")[1].strip() for line in f if line.startswith("model name")), "?")
    return {"cpu": cpu, "cores": os.cpu_count(), "kernel": platform.release(), "load": os.getloadavg()}


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", nargs="*", default=["cpu"], help=", ".join(RUNS))
    parser.add_argument("--paths", default="nginx,haproxy,portkey,tokengrid", type=lambda s: s.split(","))
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=1.5)
    parser.add_argument("--clients", type=int, default=32)
    parser.add_argument("--json", help="file for all raw results")
    parser.add_argument("--tools", default="/tmp/tokengrid-gateway-bench", help="where rivals are kept")
    parser.add_argument("--binaries", default=os.path.join(paths.ROOT, "build/bench"))
    o = parser.parse_args()
    if unknown := set(o.what) - set(RUNS):
        parser.error(f"no such run: {', '.join(unknown)}")
    os.makedirs(o.tools, exist_ok=True)
    bench = Bench(o.tools, o.binaries)
    raw = {"before": conditions()}
    try:
        for what in o.what:
            raw[what] = RUNS[what](bench, o)
    finally:
        bench.close()
    raw["after"] = conditions()
    if o.json:
        with open(o.json, "w") as f:
            json.dump(raw, f, indent=1)


if __name__ == "__main__":
    main()
