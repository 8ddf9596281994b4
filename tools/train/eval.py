"""Measures exported GGUF files with a second implementation of the model: plain numpy, float32, weights
dequantised from the file. Shares no code with model.py. Writes the table for models/README.md, the probe
items and the reference outputs for the C++ tests."""
import argparse
import json
import math
import os
import random

import numpy as np

import bpe
import corpus
import gguf
import measure
import stories

SEED = 424242  # training uses small seeds and its own checks another


class Llama:
    def __init__(self, path):
        self.meta, self.w = gguf.read(path)
        m = self.meta
        self.layers, self.dim = m["llama.block_count"], m["llama.embedding_length"]
        self.heads, self.kv = m["llama.attention.head_count"], m["llama.attention.head_count_kv"]
        self.eps, self.hd = np.float32(m["llama.attention.layer_norm_rms_epsilon"]), m["llama.rope.dimension_count"]
        self.freq = m["llama.rope.freq_base"] ** (-np.arange(0, self.hd, 2) / self.hd)
        self.context = m["llama.context_length"]
        self.tok = bpe.Tokenizer(m["tokenizer.ggml.tokens"], [x.split(" ") for x in m["tokenizer.ggml.merges"]])
        self.eos = m["tokenizer.ggml.eos_token_id"]
        self.size = sum(x.size for x in self.w.values())

    def norm(self, x, name):
        return x / np.sqrt((x * x).mean(-1, keepdims=True, dtype=np.float32) + self.eps) * self.w[name]

    def rope(self, x, pos):
        """x: (tokens, heads, head_dim); neighbours (2i, 2i+1) turn together."""
        angle = pos[:, None] * self.freq
        cos, sin = np.cos(angle).astype(np.float32)[:, None], np.sin(angle).astype(np.float32)[:, None]
        out = np.empty_like(x)
        out[..., 0::2] = x[..., 0::2] * cos - x[..., 1::2] * sin
        out[..., 1::2] = x[..., 0::2] * sin + x[..., 1::2] * cos
        return out

    def forward(self, ids, cache=None):
        """Logits for every id. cache: list of [keys, values] per layer, extended in place."""
        cache = cache if cache is not None else [[None, None] for _ in range(self.layers)]
        past = 0 if cache[0][0] is None else len(cache[0][0])
        t = len(ids)
        pos = np.arange(past, past + t)
        x = self.w["token_embd.weight"][np.asarray(ids)]
        for i in range(self.layers):
            b = "blk.%d." % i
            w = lambda k: self.w[b + k + ".weight"].T
            h = self.norm(x, b + "attn_norm.weight")
            q = self.rope((h @ w("attn_q")).reshape(t, self.heads, self.hd), pos)
            k = self.rope((h @ w("attn_k")).reshape(t, self.kv, self.hd), pos)
            v = (h @ w("attn_v")).reshape(t, self.kv, self.hd)
            if past:
                k, v = np.concatenate((cache[i][0], k)), np.concatenate((cache[i][1], v))
            cache[i][:] = [k, v]
            out = np.empty((t, self.heads, self.hd), np.float32)
            for j in range(self.heads):
                g = j // (self.heads // self.kv)
                s = q[:, j] @ k[:, g].T / np.float32(math.sqrt(self.hd))
                s = np.where(np.arange(past + t)[None] > pos[:, None], -np.inf, s)
                s = np.exp(s - s.max(-1, keepdims=True))
                out[:, j] = (s / s.sum(-1, keepdims=True)) @ v[:, g]
            x = x + out.reshape(t, self.dim) @ w("attn_output")
            h = self.norm(x, b + "ffn_norm.weight")
            gate = h @ w("ffn_gate")
            x = x + (gate / (1 + np.exp(-gate)) * (h @ w("ffn_up"))) @ w("ffn_down")
        head = self.w.get("output.weight", self.w["token_embd.weight"])
        return self.norm(x, "output_norm.weight") @ head.T

    def generate(self, ids, n, pick=None, stop=True):
        """n tokens at most (greedy unless pick is given), with the margin of each choice over the second best.
        stop: end after the end mark."""
        cache = [[None, None] for _ in range(self.layers)]
        logits, out, margins = self.forward(ids, cache)[-1], [], []
        first = logits
        while len(out) < n and len(ids) + len(out) < self.context:
            top = np.argsort(-logits, kind="stable")[:2]
            token = int(top[0]) if pick is None else pick(logits)
            out.append(token)
            margins.append(float(logits[top[0]] - logits[top[1]]))
            if stop and token == self.eos:
                break
            if len(out) < n:
                logits = self.forward([token], cache)[-1]
        return out, margins, first

    def answer(self, user, n=256, pick=None):
        out = self.generate(measure.prompt_ids(self.tok, user), n, pick)[0]
        return self.tok.decode(out).split("<|im_end|>")[0].strip()


def sampler(seed, temperature=0.7):
    rng = np.random.default_rng(seed)

    def pick(logits):
        p = np.exp((logits - logits.max()) / temperature)
        return int(rng.choice(len(p), p=p / p.sum()))
    return pick


def exact(model, todo):
    """Exact match per kind; the answer including its end mark must be the greedy choice token by token."""
    right, total = {}, {}
    for kind, user, answer in todo:
        p = measure.prompt_ids(model.tok, user)
        r = model.tok.encode(answer) + [model.eos]
        best = model.forward(p + r[:-1])[len(p) - 1:].argmax(-1).tolist()
        right[kind] = right.get(kind, 0) + (best == r)
        total[kind] = total.get(kind, 0) + 1
    return {k: right[k] / total[k] for k in measure.KINDS}


def perplexity(model, n):
    """Per token, on plain stories of a seed not used in training."""
    rng, loss, tokens = random.Random(SEED), 0.0, 0
    for _ in range(n):
        ids = [model.tok.special["<|endoftext|>"]] + model.tok.encode(stories.story(rng))
        logits = model.forward(ids[:-1]).astype(np.float64)
        logits -= logits.max(-1, keepdims=True)
        lp = logits - np.log(np.exp(logits).sum(-1, keepdims=True))
        loss -= lp[np.arange(len(ids) - 1), ids[1:]].sum()
        tokens += len(ids) - 1
    return math.exp(loss / tokens)


STORY_PROMPTS = ["Tell me a short story about a fox and a lamp.", "Write a story about Mia and a kite.", "Tell me a story about a bear in the forest."]
PROMPTS = STORY_PROMPTS + [
    "What is a Standard Token?", "What is a receipt for?", "What is Tokengrid?", "Who are you?", "Hello!", "What is the capital of France?",
    "Repeat: lamp river stone apple", "What is 47 + 38?", "What is 6 + 7?", "Count from 7 to 15.", "Make a JSON object with name Mia, age 7 and pet cat.",
    "apple = 42\nriver = 17\nstone = 93\nWhat is river?",
    "Anna has a red ball. Tom has a blue boat. It was quiet in the garden. Nobody was in the school.\nWhat does Tom have?"]
REFERENCE = ["Tell me a short story about a fox and a lamp.", "What is a Standard Token?", "Repeat: river lamp stone apple cloud", "What is 12 + 34?",
             "Make a JSON object with name Mia, age 7 and pet cat."]


def reference(model, file):
    out = []
    for prompt in REFERENCE:
        text = "<|im_start|>user\n%s<|im_end|>\n<|im_start|>assistant\n" % prompt
        ids = model.tok.encode_special(text)
        # continues past the end mark on purpose: 32 tokens each, whatever they are
        tokens, margins, first = model.generate(ids, 32, stop=False)
        top = np.argsort(-first, kind="stable")[:5]
        out.append({"prompt": prompt, "text": text, "prompt_ids": ids, "greedy": tokens, "margins": [round(m, 4) for m in margins],
                    "greedy_text": model.tok.decode(tokens), "top5": [[int(i), round(float(first[i]), 5)] for i in top]})
    return {"file": file, "prompts": out}


def main():
    ap = argparse.ArgumentParser()
    ap.add_argument("files", nargs="+")
    ap.add_argument("--items", type=int, default=100, help="items per kind")
    ap.add_argument("--stories", type=int, default=50)
    ap.add_argument("--probes", help="write held-out probe items (JSON lines) here")
    ap.add_argument("--reference", help="write prompt ids, greedy tokens and logits here")
    ap.add_argument("--samples", action="store_true")
    ap.add_argument("--json", help="write the numbers here")
    a = ap.parse_args()
    if a.probes:
        with open(a.probes, "w") as f:
            for kind, user, answer in measure.items(20, SEED + 1):
                f.write(json.dumps({"kind": kind, "messages": [{"role": "user", "content": user}], "expected": answer}) + "\n")
    models = [Llama(f) for f in a.files]
    if a.reference:
        with open(a.reference, "w") as f:
            json.dump({"note": "float32 numpy, weights dequantised from the GGUF; margin = best minus second-best logit",
                       "models": [reference(m, os.path.basename(p)) for m, p in zip(models, a.files)]}, f, indent=1)
            f.write("\n")
    todo = measure.items(a.items, SEED)
    rows = []
    for m in models:
        r = exact(m, todo) if a.items else {}
        r["story perplexity"] = perplexity(m, a.stories) if a.stories else 0
        rows.append(r)
    if a.json:
        json.dump(dict(zip(map(os.path.basename, a.files), rows)), open(a.json, "w"), indent=1)
    print("| probe | " + " | ".join(os.path.basename(f) for f in a.files) + " |\n|---|" + "---|" * len(models))
    for k in rows[0]:
        print("| %s | %s |" % (k, " | ".join("%.2f" % r[k] if k == "story perplexity" else "%.0f %%" % (100 * r[k]) for r in rows)))
    if a.samples:
        for m, f in zip(models, a.files):
            print("\n# %s (%d weights)" % (os.path.basename(f), m.size))
            for p in PROMPTS:
                print("\n> %s\n%s" % (p, m.answer(p)))
            print("\n> %s (temperature 0.7)\n%s" % (STORY_PROMPTS[0], m.answer(STORY_PROMPTS[0], pick=sampler(1))))


if __name__ == "__main__":
    main()
