#!/usr/bin/env python3
"""The Standard Token from its prose (spec/standard-token.md) in plain Python with exact fractions; shares nothing with src/.

   st_vectors.py write   makes spec/vectors/nominal.jsonl
   st_vectors.py check   recomputes every line of it and fails on the first that differs

A vector is a model's shape, the cost matrix that follows from it, a request, and its nominal work in nano-ST."""
import json
import pathlib
import sys
from fractions import Fraction

FILE = pathlib.Path(__file__).resolve().parent.parent / "spec" / "vectors" / "nominal.jsonl"

# ST8, atto-ST.
WEIGHT = {"f32": 25334453, "f16": 6333613, "fp8": 3166807, "int8": 3166807, "4bit": 3166807}
ATTENTION = 6333613
BYTE = 1266722652
PREFILL, DECODE = 2048, 32
# Bytes per element of the codecs, exactly.
CODEC = {"f32": Fraction(4), "f16": Fraction(2), "bf16": Fraction(2), "q8_0": Fraction(34, 32), "q6_k": Fraction(210, 256),
         "q4_k": Fraction(144, 256), "q4_0": Fraction(18, 32), "mxfp4": Fraction(17, 32), "i8": Fraction(1)}


def shape(name, layers, d, heads, kv_heads, head, ffn, vocab, codec="f16", kv="f16", cls="f16", windows=None, experts=None,
          shared_ffn=0, expert_ffn=0, **more):
    """windows: the window of each layer in a cycle (0 = unbounded); experts: (E, k) in every layer. More: `kinds`, what each
    of the windows attends (ST14; causal if left out); `index`, [heads, width] of a selection beside each layer; `states`,
    [layers, heads, dk, dv, bytes] of recurrent layers that take the place of attention in as many layers (ST15)."""
    return dict(name=name, layers=layers, d=d, heads=heads, kv_heads=kv_heads, head=head, ffn=ffn, vocab=vocab, codec=codec,
                kv=kv, cls=cls, windows=windows or [0], experts=experts, shared_ffn=shared_ffn, expert_ffn=expert_ffn, **more)


def matrix(s):
    """ST3: how the counters grow."""
    attention = s["d"] * s["heads"] * s["head"] * 2 + s["d"] * s["kv_heads"] * s["head"] * 2
    dense = attention + 3 * s["d"] * (s["shared_ffn"] if s["experts"] else s["ffn"])
    flops = dense
    expert_bytes = 0
    experts = []
    if s["experts"]:
        total, active = s["experts"]
        dense += s["d"] * total  # the router
        flops = dense + active * 3 * s["d"] * s["expert_ffn"]
        expert_bytes = whole(3 * s["d"] * s["expert_ffn"] * CODEC[s["codec"]])
        experts = [dict(experts=total, active=active, layers=s["layers"], bytes_per_expert=expert_bytes)]
    kv_row = whole(s["kv_heads"] * 2 * s["head"] * CODEC[s["kv"]])
    attending = s["layers"] - (s["states"][0] if "states" in s else 0)
    kinds = s.get("kinds", ["causal"] * len(s["windows"]))
    classes = {}
    for layer in range(attending):
        at = layer % len(s["windows"])
        flops_per_pair, bytes_per_key = classes.get((s["windows"][at], kinds[at]), (0, 0))
        classes[s["windows"][at], kinds[at]] = (flops_per_pair + 2 * s["heads"] * 2 * s["head"],
                                                bytes_per_key + (0 if kinds[at] == "dense" else kv_row))
    writes = 0 if "dense" in kinds else attending * kv_row
    if "index" in s:
        heads, width = s["index"]
        classes[0, "causal"] = (attending * 2 * heads * width, attending * 2 * width)
        writes += attending * 2 * width
    m = dict(
        mm_per_token=2 * s["layers"] * flops, mm_per_row=2 * s["d"] * s["vocab"], mm_class=s["cls"],
        kv_wr_per_token=writes, w_bytes=whole(s["layers"] * dense * CODEC[s["codec"]]),
        head_bytes=whole(s["d"] * s["vocab"] * CODEC[s["codec"]]),
        windows=[window_class(*key, *value) for key, value in sorted(classes.items())],
        experts=experts)
    if "states" in s:
        layers, heads, dk, dv, size = s["states"]
        m["attn_per_token"] = 8 * layers * heads * dk * dv
        m["state_per_sequence"] = 2 * layers * heads * dk * dv * size
    return m


def window_class(window, kind, flops, kv_bytes):
    out = dict(window=window, attn_flops_per_pair=flops, kv_rd_bytes_per_key=kv_bytes)
    return out if kind == "causal" else dict(out, kind=kind)


def whole(value):
    value = Fraction(value)
    assert value.denominator == 1, value
    return value.numerator


def half_even(value):
    floor = value.numerator // value.denominator
    rest = value - floor
    return floor + (1 if rest > Fraction(1, 2) or (rest == Fraction(1, 2) and floor % 2 == 1) else 0)


def distinct(e, k, tokens):
    """ST7, exact, then rounded to 2^-20."""
    return Fraction(half_even(e * (1 - Fraction(e - k, e) ** tokens) * 2**20), 2**20)


def pairs(c, n, w):
    """ST4, one query at a time would do; this is its sum."""
    if w == 0:
        return n * c + n * (n + 1) // 2
    m = max(0, min(w - c, n))
    return m * c + m * (m + 1) // 2 + (n - m) * w


def pairs_and_keys(window, c, n):
    """ST4 and ST14."""
    w, kind = window["window"], window.get("kind", "causal")
    if kind == "full":
        return n * (c + n), c + n
    if kind == "selected":
        return pairs(c, n, w), min(c + n, pairs(c, n, w))
    if kind == "tree":
        return pairs(c, n, 0), c + n
    if kind == "dense":
        whole_of = lambda k: k * k if w == 0 else 2 * pairs(0, k, w) - k
        return whole_of(c + n) - whole_of(c), 0
    return pairs(c, n, w), c + n if w == 0 else min(c + n, n + w - 1)


def one_pass(m, c, n, rows, share):
    """ST5, ST6: the atto-ST of one pass, weight bytes at their share."""
    mm = WEIGHT[m["mm_class"]]
    total = Fraction(n * m["mm_per_token"] * mm + rows * m["mm_per_row"] * mm + n * m["kv_wr_per_token"] * BYTE)
    total += Fraction(n * m["w_bytes"] * BYTE, share) + Fraction(rows * m["head_bytes"] * BYTE, share)
    for e in m["experts"]:
        total += Fraction(n, share) * distinct(e["experts"], e["active"], share) * e["layers"] * e["bytes_per_expert"] * BYTE
    for w in m["windows"]:
        attended, keys = pairs_and_keys(w, c, n)
        total += attended * w["attn_flops_per_pair"] * ATTENTION + keys * w["kv_rd_bytes_per_key"] * BYTE
    return total + n * m.get("attn_per_token", 0) * ATTENTION + m.get("state_per_sequence", 0) * BYTE


def decode(m, prompt, output):
    """O-1 single-token passes; linear stretches of the sum are added as such, so that long outputs cost nothing."""
    passes = max(output - 1, 0)
    if passes == 0:
        return Fraction(0)
    edges = {prompt, prompt + passes}
    edges |= {w["window"] for w in m["windows"] if prompt < w["window"] < prompt + passes}
    total = Fraction(0)
    points = sorted(edges)
    for start, end in zip(points, points[1:]):
        first, last = one_pass(m, start, 1, 1, DECODE), one_pass(m, end - 1, 1, 1, DECODE)
        total += (first + last) * (end - start) / 2
    return total


def nominal(m, r):
    prefill = Fraction(0)
    for c in range(r["cached"], r["prompt"], PREFILL):
        n = min(PREFILL, r["prompt"] - c)
        rows = 1 if c + n == r["prompt"] and not r["embedding"] else 0
        prefill += one_pass(m, c, n, rows, PREFILL)
    total = prefill + sum(decode(m, r["prompt"], o) for o in r["outputs"])
    return half_even(prefill / 10**9), half_even(total / 10**9)


SHAPES = [
    shape("tg-r1", 32, 4096, 32, 8, 128, 14336, 32000),
    shape("llama-3.1-8b", 32, 4096, 32, 8, 128, 14336, 128256),
    shape("llama-3.1-8b-q4_k", 32, 4096, 32, 8, 128, 14336, 128256, codec="q4_k"),
    shape("llama-3.1-8b-q8-kv8-int8", 32, 4096, 32, 8, 128, 14336, 128256, codec="q8_0", kv="i8", cls="int8"),
    shape("llama-2-7b-mha", 32, 4096, 32, 32, 128, 11008, 32000),
    shape("llama-3.1-70b", 80, 8192, 64, 8, 128, 28672, 128256),
    shape("gemma-2-9b", 42, 3584, 16, 8, 256, 14336, 256000, windows=[4096, 0]),
    shape("gemma-3-like", 62, 5376, 32, 16, 128, 21504, 262144, windows=[1024] * 5 + [0]),
    shape("mistral-window", 32, 4096, 32, 8, 128, 14336, 32000, windows=[4096]),
    shape("tiny-f32", 2, 256, 8, 4, 32, 512, 512, codec="f32", kv="f32", cls="f32"),
    shape("mixtral-8x7b", 32, 4096, 32, 8, 128, 0, 32000, experts=[8, 2], expert_ffn=14336),
    shape("qwen3-30b-a3b", 48, 2048, 32, 4, 128, 0, 151936, experts=[128, 8], expert_ffn=768),
    shape("shared-experts", 60, 5120, 128, 128, 128, 0, 102400, experts=[160, 6], expert_ffn=1536, shared_ffn=3072,
          codec="q4_k"),
    shape("gpt-oss-like", 36, 2880, 64, 8, 64, 0, 201088, experts=[128, 4], expert_ffn=2880, codec="mxfp4",
          windows=[128, 0]),
    shape("bert-large-like", 24, 1024, 16, 16, 64, 2731, 30522, codec="f32", kv="f32", cls="f32", kinds=["dense"]),
    shape("modernbert-like", 22, 768, 12, 12, 64, 1152, 50368, windows=[0, 128, 128], kinds=["dense"] * 3),
    shape("full-over-cache", 12, 1024, 16, 4, 64, 4096, 32000, kinds=["full"]),
    shape("tree-as-chain", 32, 4096, 32, 8, 128, 14336, 32000, kinds=["tree"]),
    shape("sparse-like", 61, 7168, 128, 1, 512, 18432, 129280, windows=[2048], kinds=["selected"], index=[64, 128]),
    shape("narrow-selection", 4, 256, 8, 2, 32, 512, 512, codec="f32", kv="f32", cls="f32", windows=[1], kinds=["selected"]),
    shape("recurrent-3-of-4", 48, 2048, 16, 2, 256, 0, 151936, experts=[512, 10], expert_ffn=512, shared_ffn=512,
          states=[36, 32, 128, 128, 4]),
    shape("recurrent-only", 24, 768, 12, 12, 64, 2048, 50280, states=[24, 24, 128, 64, 4]),
]
# prompt, cached, outputs, embedding
REQUESTS = [(1, 0, [1], 0), (1000, 0, [500], 0), (1000, 512, [500], 0), (2047, 0, [2], 0), (2048, 0, [1], 0),
            (2049, 0, [33], 0), (4096, 2047, [1], 0), (6000, 0, [100], 0), (6000, 5984, [1], 0), (100, 100, [10], 0),
            (8192, 0, [0], 0), (7, 0, [0], 0), (1000, 0, [10, 200, 1], 0), (512, 0, [], 1), (5000, 0, [], 1),
            (131072, 4096, [4096], 0), (1048576, 0, [1024], 0)]


def vectors():
    for s in SHAPES:
        m = matrix(s)
        for prompt, cached, outputs, embedding in REQUESTS:
            r = dict(prompt=prompt, cached=cached, outputs=outputs, embedding=bool(embedding))
            prefill, total = nominal(m, r)
            yield dict(shape=s, matrix=m, request=r, input_nst=prefill, nominal_nst=total)


def main():
    if sys.argv[1:] == ["write"]:
        FILE.write_text("".join(json.dumps(v, separators=(",", ":")) + "\n" for v in vectors()))
    elif sys.argv[1:] != ["check"]:
        sys.exit(__doc__)
    count = 0
    for line, want in zip(FILE.read_text().splitlines(), vectors(), strict=True):
        if json.loads(line) != want:
            sys.exit(f"vector {count + 1} differs: {want['shape']['name']} {want['request']}")
        count += 1
    print(f"{count} vectors agree")


main()
