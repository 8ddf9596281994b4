"""Held-out probe items and their exact match under greedy decoding."""
import random

import torch

import corpus
import probes
import qa

KINDS = ["copy", "recall", "recall far", "lookup", "add 1-digit", "add 2-digit", "add 3-digit", "count", "json", "qa"]


def _item(rng, kind):
    if kind == "recall":
        return probes.recall(rng, distance=rng.choice((0, 1, 2)))
    if kind == "recall far":
        return probes.recall(rng, n=rng.randint(3, 6), distance=rng.choice((6, 8)))
    if kind.startswith("add"):
        return probes.add(rng, digits=int(kind[4]), held=True)
    if kind == "qa":
        return qa.qa(rng)
    return probes.PROBES[kind](rng)


def held(kind, user):
    if kind.startswith("add"):
        return True  # held out by the pair of numbers
    if kind == "qa":
        return len(user) >= 20 and probes.held_out(user.lower())
    return probes.held_out(user)


def items(n, seed, kinds=KINDS):
    """Up to n items per kind, none of which is ever made for training."""
    out = []
    for kind in kinds:
        rng, seen = random.Random("%d %s" % (seed, kind)), set()
        for _ in range(200 * n):  # some kinds, such as sums of one digit, have fewer than n held-out items
            if len(seen) == n:
                break
            user, answer = _item(rng, kind)
            if held(kind, user) and (user not in seen):
                seen.add(user)
                out.append((kind, user, answer))
    return out


def prompt_ids(tok, user):
    return tok.encode_special("<|im_start|>user\n%s<|im_end|>\n<|im_start|>assistant\n" % user)


def teacher_forced(logits, tok, todo, device="cpu", batch=32):
    """Share of items per kind whose whole answer is the model's greedy choice: with the right answer as
    input, every next token must be the arg max. That is the same as decoding greedily and comparing."""
    coded = []
    for kind, user, answer in todo:
        p = prompt_ids(tok, user)
        coded.append((kind, p, tok.encode(answer) + [tok.special["<|im_end|>"]]))
    coded.sort(key=lambda x: len(x[1]) + len(x[2]))
    right, total = {}, {}
    for i in range(0, len(coded), batch):
        part = coded[i:i + batch]
        width = max(len(p) + len(r) for _, p, r in part)
        ids = torch.zeros(len(part), width, dtype=torch.long)
        for row, (_, p, r) in enumerate(part):
            ids[row, :len(p) + len(r)] = torch.tensor(p + r)
        best = logits(ids.to(device)).argmax(-1).cpu()
        for row, (kind, p, r) in enumerate(part):
            ok = best[row, len(p) - 1:len(p) + len(r) - 1].tolist() == r
            right[kind] = right.get(kind, 0) + ok
            total[kind] = total.get(kind, 0) + 1
    return {k: right[k] / total[k] for k in KINDS if k in total}
