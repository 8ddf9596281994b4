#!/usr/bin/env python3
"""The gateway benchmark: python3 bench/gateway/run.py [cpu metering ...] [--rounds N] [--json FILE]. README.md says what it measures.

Build first: cmake --preset bench && ninja -C build/bench gateway_mock gateway_load gateway_parts tokengrid
"""
import argparse
import json
import os
import platform
import random
import statistics
import subprocess
import sys
import tempfile

import paths
from paths import Bench, Unavailable, on_core

STARTERS = {
    "nginx": paths.start_nginx,
    "haproxy": paths.start_haproxy,
    "portkey": paths.start_portkey,
    "tokengrid": paths.start_tokengrid,
    "tokengrid-in-memory": paths.start_tokengrid_in_memory,
    "tokengrid-openai": lambda bench, upstream: paths.start_tokengrid(bench, upstream, name="tokengrid, openai upstream",
                                                                      kind="openai"),
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


def run_metering(bench, o):
    """The same gateway with metering and without."""
    upstream = bench.mock("--content-bytes", CONTENT_BYTES)
    body = write_body(bench, "whole")
    started = []
    try:
        started.append(paths.start_parts(bench, upstream, "metering on"))
        started.append(paths.start_parts(bench, upstream, "metering off", metering=False))
        results = interleave(started, o.rounds, lambda path: load(
            bench, path, "closed", body, "--clients", o.clients, "--warmup", 0.3, "--seconds", o.seconds))
    finally:
        for path in [*started, upstream]:
            path.stop()
    each = {name: [r["cpu_us_each"] for r in runs] for name, runs in results.items()}
    more = 100 * (middle(each["metering on"]) / middle(each["metering off"]) - 1)
    print(f"Metering on and off, {o.rounds} rounds of {o.seconds} s: {more:.0f} % more CPU with it")
    table(["", "CPU µs/request (min–max)"], [[name, spread(values)] for name, values in each.items()])
    return results


def run_latency(bench, o):
    """What a path adds to the latency of requests that come at a fixed rate."""
    upstream = bench.mock("--content-bytes", CONTENT_BYTES)
    names = [name for name in o.paths if name != "portkey"]
    started = start_all(bench, [*names, "tokengrid-in-memory"], upstream)
    body = write_body(bench, "whole")
    raw = {}
    try:
        for rate in o.rates:
            results = interleave([upstream, *started], o.rounds, lambda path: load(
                bench, path, "open", body, "--clients", 256, "--segment", f"{rate}:{rate}:{o.seconds}"))
            raw[str(rate)] = results
            direct = results["direct"]
            rows = []
            for name, runs in results.items():
                def quantile(q, runs=runs):
                    return [r["latency_us"].get(q, 0) for r in runs]
                def added(q, runs=runs):
                    return [r["latency_us"].get(q, 0) - d["latency_us"].get(q, 0) for r, d in zip(runs, direct)]
                rows.append([name, spread(quantile("p50"), 0), spread(quantile("p99"), 0), spread(added("p50"), 0),
                             spread(added("p99"), 0), sum(r["requests"] - r["ok"] + r["unanswered"] for r in runs)])
            print(f"Latency at {rate} requests/s, open loop, evenly spaced, {o.rounds} rounds of {o.seconds} s, µs from when due")
            table(["path", "p50 (min–max)", "p99 (min–max)", "added p50", "added p99", "not 200"], rows)
    finally:
        for path in [*started, upstream]:
            path.stop()
    return raw


def stream_rows(results, streams, base=None):
    rows = []
    for name, runs in results.items():
        each = [r["cpu_us_each"] for r in runs]
        last = runs[-1]
        chunks = last["events"] / last["seconds"]
        rows.append([name, spread(each), f"{middle(each) / base:.2f}" if base else "-", f"{chunks:.0f}",
                     f"{100 * last['cpu_us'] / last['seconds'] / 1e6:.0f} %",
                     f"{last['first_us'].get('p50', 0) / 1000:.1f} / {last['first_us'].get('p99', 0) / 1000:.1f}",
                     f"{last['gap_us'].get('p50', 0) / 1000:.1f} / {last['gap_us'].get('p99', 0) / 1000:.1f}",
                     f"{last['rss_kib_before'] / 1024:.1f}",
                     f"{(last['rss_kib'] - last['rss_kib_before']) / streams:.1f}", f"{last['ended_early']} {last['statuses'] or ''}"])
    return rows


STREAM_HEAD = ["path", "CPU µs/chunk (min–max)", "× nginx", "chunks/s", "core used", "first ms p50/p99", "gap ms p50/p99",
               "idle RSS MiB", "KiB/stream", "broken"]


def run_streams(bench, o):
    """CPU per proxied chunk: many streams of 20 chunks a second. Each path is started afresh for each reading, so that
    memory per stream is seen."""
    names = [name for name in o.paths if name != "portkey"]
    body = write_body(bench, "stream", stream=True, max_tokens=380)
    results = {}
    for _ in range(o.rounds):
        for name in random.sample(names, len(names)):
            upstream = bench.mock("--chunk-ms", 50)
            path = None
            try:
                path = STARTERS[name](bench, upstream)
                results.setdefault(path.name, []).append(
                    load(bench, path, "streams", body, "--clients", o.streams, "--warmup", 5, "--seconds", 5))
            except Unavailable as why:
                print(f"{name} is left out: {why}", file=sys.stderr)
            finally:
                for one in [path, upstream]:
                    if one:
                        one.stop()
    base = middle([r["cpu_us_each"] for r in results["nginx"]]) if "nginx" in results else None
    print(f"{o.streams} proxied streams of 20 chunks/s, {o.rounds} rounds of 5 s")
    table(STREAM_HEAD, stream_rows(results, o.streams, base))
    return results


def run_engine(bench, o):
    """CPU per chunk from an engine in the gateway's own process, and how many streams a core holds."""
    body = write_body(bench, "stream", stream=True, max_tokens=380)
    raw = {}
    for streams in o.held:
        path = paths.start_parts(bench, name=f"{streams} streams", chunk_ms=50)
        try:
            raw[path.name] = [load(bench, path, "streams", body, "--clients", streams, "--warmup", 7, "--seconds", 5)]
        finally:
            path.stop()
    print("Streams of 20 chunks/s from a mock engine in the gateway's process, metering on, one reading of 5 s each")
    rows = [stream_rows({name: runs}, int(name.split()[0]))[0] for name, runs in raw.items()]
    table(STREAM_HEAD, rows)
    return raw


def run_overload(bench, o):
    """24,000 requests at a rate that rises to twice the capacity, then half the capacity again; twice."""
    upstream = bench.mock("--content-bytes", CONTENT_BYTES)
    path = paths.start_tokengrid(bench, upstream, limits="")
    body = write_body(bench, "whole")
    raw = {}
    try:
        probe = load(bench, path, "closed", body, "--clients", 256, "--warmup", 1, "--seconds", 3)
        capacity = probe["ok"] / probe["seconds"]
        seconds = 24_000 / (1.1 * capacity)
        rows = []
        for turn in ["first", "second"]:
            run = load(bench, path, "open", body, "--clients", 4000, "--segment",
                       f"{0.2 * capacity:.0f}:{2 * capacity:.0f}:{seconds:.2f}", "--segment",
                       f"{0.5 * capacity:.0f}:{0.5 * capacity:.0f}:8")
            raw[turn] = run
            for second in run["by_second"]:
                statuses = second["statuses"]
                rows.append([turn, second["second"], second["requests"], statuses.get("200", 0), statuses.get("429", 0),
                             statuses.get("503", 0),
                             sum(n for s, n in statuses.items() if s not in ("200", "429", "503")),
                             second["retry_after"], second["latency_us"].get("p50", "-"),
                             second["latency_us"].get("p99", "-")])
            rows.append([turn, "RSS MiB", f"{run['rss_kib_before'] / 1024:.1f}", f"{run['rss_kib'] / 1024:.1f}", "", "", "",
                         "", "", ""])
        raw["capacity"] = capacity
        print(f"Overload: capacity {capacity:.0f}/s; 24,000 requests rising to {2 * capacity:.0f}/s over {seconds:.1f} s, "
              f"then {0.5 * capacity:.0f}/s for 8 s; by the second in which they were due")
        table(["turn", "second", "due", "200", "429", "503", "other", "Retry-After", "p50 µs", "p99 µs"], rows)
    finally:
        for one in [path, upstream]:
            one.stop()
    return raw


RUNS = {"cpu": run_cpu, "metering": run_metering, "latency": run_latency, "streams": run_streams, "engine": run_engine,
        "overload": run_overload}


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
    parser.add_argument("--rates", default=[1000, 2000], type=lambda s: [int(x) for x in s.split(",")],
                        help="of latency, requests/s")
    parser.add_argument("--streams", type=int, default=1000)
    parser.add_argument("--held", default=[1000, 2500, 5000], type=lambda s: [int(x) for x in s.split(",")],
                        help="of engine, streams")
    parser.add_argument("--json", help="file for all raw results")
    parser.add_argument("--tools", default=os.path.join(tempfile.gettempdir(), "tokengrid-gateway-bench"), help="where rivals are kept")
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
