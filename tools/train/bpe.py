"""Byte-level BPE: training, encoding and decoding.

The pre-tokenizer is that of qwen2 (llama.cpp: tokenizer.ggml.pre = "qwen2"):
(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+
Python's `re` has no \\p classes; \\p{L} is written [^\\W\\d_] and \\p{N} is [0-9], which is exact for ASCII text.
"""
import json
import re
from collections import Counter, defaultdict

PATTERN = re.compile(
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|(?:(?![\r\n]|[^\W_]).)?[^\W\d_]+|[0-9]| ?(?:(?!\s|[^\W_]).)+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+",
    re.DOTALL)
SPECIALS = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]


def byte_table():
    """The GPT-2 mapping of bytes to printable characters."""
    keep = list(range(33, 127)) + list(range(161, 173)) + list(range(174, 256))
    table, n = {}, 0
    for b in keep:
        table[b] = chr(b)
    for b in range(256):
        if b not in table:
            table[b] = chr(256 + n)
            n += 1
    return table


BYTES = byte_table()
UNBYTES = {c: b for b, c in BYTES.items()}


def visible(text):
    return "".join(BYTES[b] for b in text.encode("utf-8"))


def train(counts, vocab_size):
    """counts: Counter of pre-tokens. Returns (tokens, merges); ties go to the smaller pair, so the result is fixed."""
    words = [[list(visible(w)), n] for w, n in sorted(counts.items())]
    pairs, where = Counter(), defaultdict(set)
    for i, (w, n) in enumerate(words):
        for p in zip(w, w[1:]):
            pairs[p] += n
            where[p].add(i)
    tokens = [BYTES[b] for b in sorted(BYTES, key=lambda b: (ord(BYTES[b])))]
    merges = []
    while len(tokens) + len(SPECIALS) < vocab_size and pairs:
        best = max(pairs.items(), key=lambda kv: (kv[1], [-ord(c) for c in kv[0][0] + " " + kv[0][1]]))[0]
        merges.append(best)
        new = best[0] + best[1]
        tokens.append(new)
        for i in list(where[best]):
            w, n = words[i]
            for p in zip(w, w[1:]):
                pairs[p] -= n
                if pairs[p] <= 0:
                    del pairs[p]
            out, j = [], 0
            while j < len(w):
                if j + 1 < len(w) and w[j] == best[0] and w[j + 1] == best[1]:
                    out.append(new)
                    j += 2
                else:
                    out.append(w[j])
                    j += 1
            words[i][0] = out
            for p in zip(out, out[1:]):
                pairs[p] += n
                where[p].add(i)
        pairs.pop(best, None)
    return tokens, merges


class Tokenizer:
    def __init__(self, tokens, merges):
        self.tokens, self.merges = list(tokens), [tuple(m) for m in merges]
        self.ids = {t: i for i, t in enumerate(self.tokens)}
        self.rank = {m: i for i, m in enumerate(self.merges)}
        self.cache = {}
        self.special = {t: self.ids[t] for t in SPECIALS}

    @staticmethod
    def from_counts(counts, vocab_size):
        tokens, merges = train(counts, vocab_size)
        return Tokenizer(tokens + SPECIALS, merges)

    @staticmethod
    def load(path):
        d = json.load(open(path))
        return Tokenizer(d["tokens"], [m.split(" ") for m in d["merges"]])

    def save(self, path):
        json.dump({"tokens": self.tokens, "merges": [" ".join(m) for m in self.merges]}, open(path, "w"))

    def _word(self, word):
        parts = list(visible(word))
        while len(parts) > 1:
            ranked = [(self.rank.get(p, 1 << 30), i) for i, p in enumerate(zip(parts, parts[1:]))]
            rank, i = min(ranked)
            if rank == 1 << 30:
                break
            parts[i:i + 2] = [parts[i] + parts[i + 1]]
        return [self.ids[p] for p in parts]

    def encode(self, text):
        """Plain text; special tokens are not recognised here."""
        out, cache = [], self.cache
        for word in PATTERN.findall(text):
            ids = cache.get(word)
            if ids is None:
                ids = self._word(word)
                if len(cache) < 200000:
                    cache[word] = ids
            out += ids
        return out

    def encode_special(self, text):
        """Text in which the special tokens stand for themselves."""
        out = []
        for part in re.split("(" + "|".join(map(re.escape, SPECIALS)) + ")", text):
            if part in self.special:
                out.append(self.special[part])
            elif part:
                out += self.encode(part)
        return out

    def decode(self, ids):
        raw = bytearray()
        for i in ids:
            t = self.tokens[i]
            raw += t.encode() if t in self.special else bytes(UNBYTES[c] for c in t)
        return raw.decode("utf-8", "replace")
