"""The training text: a seeded stream of documents, and shards of token ids made from it.

A document is a list of (text, weight). Special tokens stand in the text as themselves. The weight
(0..10, tenths) scales the loss: what a user says, and random words nobody can predict, count little.
"""
import argparse
import os
import random
from collections import Counter

import numpy as np

import bpe
import probes
import qa
from stories import story, story_request

USER_WEIGHT = 1
SYSTEM = ["You are Tokengrid Tiny, a small helpful model.", "You are a helpful assistant.", "Answer briefly.", "You are a small model.",
          "You are Tokengrid Tiny.", "Be kind and brief.", "You are a friendly assistant that tells stories."]

# shares of tokens; the first part of training is richer in what teaches copying and recall
MIX_EARLY = {"story": 18, "story_chat": 12, "probe": 32, "qa": 6, "induction": 26, "numbers": 6}
MIX = {"story": 20, "story_chat": 20, "probe": 38, "qa": 12, "induction": 5, "numbers": 5}
PROBE_WEIGHTS = [("copy", 15), ("recall", 24), ("lookup", 18), ("add", 24), ("count", 9), ("json", 10)]


def im(role, text, weight):
    return [("<|im_start|>%s\n" % role, USER_WEIGHT), (text + "<|im_end|>", weight), ("\n", USER_WEIGHT)]


def chat(turns, system=None):
    doc = im("system", system, USER_WEIGHT) if system else []
    for user, answer in turns:
        doc += im("user", user, USER_WEIGHT) + im("assistant", answer, 10)
    return doc


def _system(rng):
    return rng.choice(SYSTEM) if rng.random() < 0.15 else None


def _probe(rng, kind=None):
    kind = kind or rng.choices([k for k, _ in PROBE_WEIGHTS], [w for _, w in PROBE_WEIGHTS])[0]
    while True:
        item = probes.PROBES[kind](rng)
        if not probes.held_out(item[0]):
            return item


def _qa(rng):
    while True:
        item = qa.qa(rng)
        # the short phrasings of asked questions are too few to lose; "what is" phrasings are many
        if len(item[0]) < 20 or not probes.held_out(item[0].lower()):
            return item


def document(rng, kind):
    if kind == "story":
        return [(story(rng), 10)]
    if kind == "story_chat":
        turns = [story_request(rng)]
        if rng.random() < 0.15:
            turns.insert(rng.randrange(2), _qa(rng))
        return chat(turns, _system(rng))
    if kind == "probe":
        n = rng.choice((1, 1, 1, 2, 3))
        same = rng.choices([k for k, _ in PROBE_WEIGHTS], [w for _, w in PROBE_WEIGHTS])[0] if rng.random() < 0.4 else None
        return chat([_probe(rng, same) for _ in range(n)], _system(rng))
    if kind == "qa":
        turns = [_qa(rng) if rng.random() < 0.93 else _probe(rng) for _ in range(rng.choice((1, 1, 2, 3)))]
        return chat(turns, _system(rng))
    if kind == "induction":
        noise, rest = probes.induction_text(rng)
        return [(noise, 1), (rest, 10)]
    return [(probes.number_text(rng), 10)]


def documents(seed, mix):
    """Endless documents; each time the kind that lags most behind its share of characters comes next."""
    rng = random.Random(seed)
    done = {k: rng.random() for k in mix}
    while True:
        kind = min(mix, key=lambda k: done[k] / mix[k])
        doc = document(rng, kind)
        # digits and pseudo-words are about twice as many tokens per character as prose
        done[kind] += sum(len(t) for t, _ in doc) * (2 if kind in ("probe", "induction", "numbers") else 1)
        yield doc


def encode_document(tok, doc):
    """Encodes the document as one text (so that merges cross the weight borders as in use) when the
    weights agree, else segment by segment: borders lie after newlines or special tokens."""
    ids, weights = [], []
    for text, w in doc:
        t = tok.encode_special(text)
        ids += t
        weights += [w] * len(t)
    return ids + [tok.special["<|endoftext|>"]], weights + [5]


def shard(tok, index, early, size, seed):
    """(ids, weights) of one shard, exactly `size` tokens."""
    ids, weights = [], []
    for doc in documents(seed * 100003 + index, MIX_EARLY if index < early else MIX):
        i, w = encode_document(tok, doc)
        ids += i
        weights += w
        if len(ids) >= size:
            return np.array(ids[:size], np.uint16), np.array(weights[:size], np.uint8)


def cached_shard(folder, tok, index, early, size, seed):
    """Like shard, kept in `folder`; written under another name first, so that a reader never sees half a file."""
    path = os.path.join(folder, "shard-%d-%d-%04d%s.npz" % (seed, size, index, "e" if index < early else ""))
    if not os.path.exists(path):
        ids, weights = shard(tok, index, early, size, seed)
        part = path + ".%d.tmp" % os.getpid()
        with open(part, "wb") as f:
            np.savez(f, ids=ids, weights=weights)
        os.replace(part, path)
    d = np.load(path)
    return d["ids"], d["weights"]


def train_tokenizer(seed, vocab_size, n_chars=6_000_000):
    counts, seen = Counter(), 0
    for doc in documents(seed, MIX):
        for text, _ in doc:
            for s in bpe.SPECIALS:
                text = text.replace(s, "\n")
            counts.update(bpe.PATTERN.findall(text))
            seen += len(text)
        if seen > n_chars:
            # a pre-token seen only now and then is mostly a made-up word: not worth a merge
            return bpe.Tokenizer.from_counts(Counter({w: c for w, c in counts.items() if c >= 4}), vocab_size)


if __name__ == "__main__":
    ap = argparse.ArgumentParser(description="print some documents, or train the vocabulary")
    ap.add_argument("--seed", type=int, default=1)
    ap.add_argument("--tokenizer", help="train the vocabulary and write it here")
    ap.add_argument("--vocab", type=int, default=2048)
    a = ap.parse_args()
    if a.tokenizer:
        train_tokenizer(a.seed, a.vocab).save(a.tokenizer)
    else:
        stream = documents(a.seed, MIX)
        for _ in range(20):
            print("".join(t for t, _ in next(stream)) + "\n-----")
