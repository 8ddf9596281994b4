"""Trains a model. Same seed, same steps: same data and the same schedule.

Optimizer: Muon (momentum, then an orthogonalised update) for the matrices inside the layers, AdamW for
the embedding and the gains. Schedule: warm-up, constant, then linear to zero over the last part, so that
a run can be continued with more steps for as long as the last part has not begun.
"""
import argparse
import json
import math
import os
import time

import numpy as np
import torch

import bpe
import corpus
import measure
import model

PRESETS = {
    # name: (config, tokens per step, Muon rate, Adam rate)
    "tiny": (dict(dim=256, layers=6, heads=4, kv_heads=2, ffn=768), 4096, 0.02, 4e-3),
    "draft": (dict(dim=128, layers=4, heads=4, kv_heads=2, ffn=384), 4096, 0.02, 6e-3),
    "bigger": (dict(dim=512, layers=12, heads=8, kv_heads=4, ffn=1536), 32768, 0.02, 3e-3),
    "bigger-draft": (dict(dim=256, layers=4, heads=4, kv_heads=2, ffn=768), 32768, 0.02, 4e-3),
}
SHARD = 1_000_000


class Rows:
    """Rows of t+1 tokens, each beginning with a document, from an endless run of shards."""

    def __init__(self, tok, folder, early, seed):
        self.tok, self.folder, self.early, self.seed = tok, folder, early, seed
        self.eot = tok.special["<|endoftext|>"]
        self.index, self.pos = -1, 0
        self._next()

    def _next(self):
        self.index, self.pos = self.index + 1, 0
        self.ids, self.weights = corpus.cached_shard(self.folder, self.tok, self.index, self.early, SHARD, self.seed)
        self.starts = np.concatenate(([0], np.flatnonzero(self.ids == self.eot) + 1))

    def batch(self, b, t):
        ids, weights = np.empty((b, t + 1), np.int64), np.empty((b, t + 1), np.float32)
        for r in range(b):
            if self.pos + t + 1 > len(self.ids):
                self._next()
            ids[r], weights[r] = self.ids[self.pos:self.pos + t + 1], self.weights[self.pos:self.pos + t + 1]
            later = np.searchsorted(self.starts, self.pos + t + 1)
            self.pos = int(self.starts[later]) if later < len(self.starts) else len(self.ids)
        return torch.from_numpy(ids[:, :-1]), torch.from_numpy(ids[:, 1:].copy()), torch.from_numpy(weights[:, 1:].copy())

    def state(self):
        return self.index, self.pos

    def restore(self, state):
        self.index = state[0] - 1
        self._next()
        self.pos = state[1]


def orthogonal(g, steps=5):
    """Newton-Schulz iteration towards the nearest orthogonal matrix, for a stack of matrices (Muon)."""
    x = g.bfloat16()
    tall = x.shape[-2] > x.shape[-1]
    if tall:
        x = x.transpose(1, 2).contiguous()
    x = x / (x.float().flatten(1).norm(dim=1)[:, None, None] + 1e-7).to(x.dtype)
    for _ in range(steps):
        a = torch.bmm(x, x.transpose(1, 2))
        b = -4.7750 * a + 2.0315 * torch.bmm(a, a)
        x = 3.4445 * x + torch.bmm(b, x)
    return (x.transpose(1, 2) if tall else x).float()


class Optimizer:
    def __init__(self, params, muon_lr, adam_lr):
        self.params, self.muon_lr, self.adam_lr = params, muon_lr, adam_lr
        self.groups = {}
        for n, p in params.items():
            if p.dim() == 2 and n != "token_embd":
                self.groups.setdefault(tuple(p.shape), []).append(n)
        self.rest = [n for n in params if not any(n in g for g in self.groups.values())]
        self.momentum = {n: torch.zeros_like(params[n]) for g in self.groups.values() for n in g}
        self.m1 = {n: torch.zeros_like(params[n]) for n in self.rest}
        self.m2 = {n: torch.zeros_like(params[n]) for n in self.rest}
        self.count = 0

    def step(self, grads, scale):
        self.count += 1
        mu = min(0.85 + self.count / 300 * 0.1, 0.95)
        for shape, names in self.groups.items():
            g = torch.stack([grads[n].float() for n in names])
            m = torch.stack([self.momentum[n] for n in names]).mul_(mu).add_(g)
            update = orthogonal(g.add_(m, alpha=mu))
            lr = self.muon_lr * scale
            for n, mm, u in zip(names, m, update):
                self.momentum[n].copy_(mm)
                self.params[n].mul_(1 - lr * 0.02).add_(u, alpha=-lr * max(1, shape[0] / shape[1]) ** 0.5)
        b1, b2 = 0.9, 0.98
        for n in self.rest:
            g, p = grads[n].float(), self.params[n]
            self.m1[n].mul_(b1).add_(g, alpha=1 - b1)
            self.m2[n].mul_(b2).addcmul_(g, g, value=1 - b2)
            denom = (self.m2[n] / (1 - b2 ** self.count)).sqrt_().add_(1e-8)
            lr = self.adam_lr * scale
            if p.dim() == 2:
                p.mul_(1 - lr * 0.02)
            p.addcdiv_(self.m1[n], denom, value=-lr / (1 - b1 ** self.count))

    def state(self):
        return {"momentum": self.momentum, "m1": self.m1, "m2": self.m2, "count": self.count}

    def restore(self, s):
        for mine, theirs in ((self.momentum, s["momentum"]), (self.m1, s["m1"]), (self.m2, s["m2"])):
            for n in mine:
                mine[n].copy_(theirs[n])
        self.count = s["count"]


def rate(step, done, cooldown, warmup=100):
    """Factor on the learning rates; done: share of the run that is over."""
    return min((step + 1) / warmup, 1.0, max(0.0, (1 - done) / cooldown))


def busy():
    """Number of other runnable tasks: threads that wait for each other are slow when a core is taken."""
    with open("/proc/loadavg") as f:
        return int(f.read().split()[3].split("/")[0]) - 1


def save(path, obj):
    torch.save(obj, path + ".tmp")
    os.replace(path + ".tmp", path)


def main():
    ap = argparse.ArgumentParser()
    ap.add_argument("--preset", default="tiny", choices=sorted(PRESETS))
    ap.add_argument("--work", required=True, help="folder for the vocabulary, shards, checkpoints and the log")
    ap.add_argument("--seed", type=int, default=1)
    ap.add_argument("--steps", type=int, help="number of steps; without it the schedule follows the clock")
    ap.add_argument("--minutes", type=float, default=60, help="without --steps: from now")
    ap.add_argument("--cooldown", type=float, default=0.4, help="last share of the run, in which the rates fall")
    ap.add_argument("--early", type=int, default=3, help="shards of 1M tokens with the early mix")
    ap.add_argument("--long", type=float, default=0.15, help="last share of the steps with full context length")
    ap.add_argument("--device", default="cpu")
    ap.add_argument("--threads", type=int, default=0, help="0: two, but one while other programs are busy")
    ap.add_argument("--resume", action="store_true")
    a = ap.parse_args()
    torch.manual_seed(a.seed)
    torch.set_num_threads(a.threads or 2)
    torch.set_flush_denormal(True)
    fields, per_step, muon_lr, adam_lr = PRESETS[a.preset]
    os.makedirs(os.path.join(a.work, "shards"), exist_ok=True)
    vocab = os.path.join(a.work, "vocab.json")
    if not os.path.exists(vocab):
        corpus.train_tokenizer(a.seed, 2048).save(vocab)
    tok = bpe.Tokenizer.load(vocab)
    c = model.Config(vocab=len(tok.tokens), **fields)
    params = {n: p.to(a.device) for n, p in model.init(c, a.seed).items()}
    opt = Optimizer(params, muon_lr, adam_lr)
    rows = Rows(tok, os.path.join(a.work, "shards"), a.early, a.seed)
    tables = model.Tables(c, a.device, torch.bfloat16)
    path = os.path.join(a.work, a.preset + ".pt")
    step, tokens, spent = 0, 0, 0.0
    if a.resume and os.path.exists(path):
        s = torch.load(path, map_location=a.device)
        for n in params:
            params[n].copy_(s["params"][n])
        opt.restore(s["opt"])
        rows.restore(s["rows"])
        step, tokens, spent = s["step"], s["tokens"], s["seconds"]
    items = measure.items(40, seed=a.seed + 7_000_000)
    print("parameters %d, from step %d" % (sum(p.numel() for p in params.values()), step), flush=True)

    # a number of steps written here replaces --steps, also during the run
    wish = os.path.join(a.work, a.preset + ".steps")
    begin, mean, first, saved = time.time(), None, step, time.time()

    def done():
        return step / a.steps if a.steps else (time.time() - begin) / (a.minutes * 60)

    def checkpoint():
        save(path, {"config": c.dict(), "params": params, "opt": opt.state(), "rows": rows.state(), "step": step,
                    "tokens": tokens, "seconds": spent + time.time() - begin, "loss": mean, "seed": a.seed, "preset": a.preset})

    share, others = done(), 0.0
    while share < 1:
        t = 512 if share >= 1 - a.long else 256
        ids, target, weight = (x.to(a.device) for x in rows.batch(per_step // t, t))
        work = {n: p.to(torch.bfloat16).requires_grad_() for n, p in params.items()}
        loss = model.loss(work, c, tables, ids, target, weight)
        loss.backward()
        opt.step({n: p.grad for n, p in work.items()}, rate(step, share, a.cooldown))
        step += 1
        if step % 10 == 0 and os.path.exists(wish):
            with open(wish) as f:
                a.steps = int(f.read())
        share = done()
        if not a.threads and a.device == "cpu":
            others = 0.9 * others + 0.1 * busy()
            if step % 10 == 0:
                torch.set_num_threads(1 if others > 0.7 else 2)
        tokens += ids.numel()
        value = float(loss)
        mean = value if mean is None else 0.98 * mean + 0.02 * value
        if not math.isfinite(value):
            raise SystemExit("loss is not finite at step %d" % step)
        if step % 50 == 0:
            el = time.time() - begin
            print("step %d (%.1f %%) loss %.4f rate %.3f tokens %.2fM %.0f tok/s %.0f s" % (
                step, 100 * share, mean, rate(step, share, a.cooldown), tokens / 1e6, (step - first) * per_step / el, el), flush=True)
        if time.time() - saved > 120 or share >= 1:
            saved = time.time()
            checkpoint()
        if step % 500 == 0 or share >= 1:
            work = {n: p.to(torch.bfloat16) for n, p in params.items()}
            with torch.no_grad():
                got = measure.teacher_forced(lambda x: model.hidden(work, c, tables, x) @ (work["token_embd"] * work["output_norm"]).t(),
                                             tok, items, a.device)
            print("  probes " + json.dumps({k: round(v, 2) for k, v in got.items()}), flush=True)


if __name__ == "__main__":
    main()
