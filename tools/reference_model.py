#!/usr/bin/env python3
"""A second implementation of every model family that Tokengrid imports, in plain numpy: reads a
   GGUF file, computes the forward pass as the families' makers published it (no templates, no
   cache, no program), and prints or checks results. Slow, in f64, for tiny models; what
   src/model/families_test.cc holds the imported programs against.

     reference_model.py outputs FILE --ids 1,2,3 [--rows 2]    logits (or the embedding) as JSON
     reference_model.py check [--tokengrid BIN | --files DIR]  recompute the records of
                                                               src/model/testdata/families
     reference_model.py write [--tokengrid BIN | --files DIR]  and write them anew

   check and write take the models from `BIN model synth` ($TOKENGRID, or the release build's) or,
   as <name>.gguf, from DIR. Needs numpy (Debian: python3-numpy); without it `check` says so and
   succeeds, so that a bare machine can run the other checks."""
import argparse
import json
import math
import os
import pathlib
import struct
import subprocess
import sys
import tempfile

try:
    import numpy as np
except ImportError:
    np = None

ROOT = pathlib.Path(__file__).resolve().parent.parent
RECORDS = ROOT / "src/model/testdata/families"
BINARY = str(ROOT / "build/release/apps/tokengrid")
TOLERANCE = 1e-6  # of the largest output

# ------------------------------------------------------------------------------------------------
# The container.

SCALARS = {0: "<B", 1: "<b", 2: "<H", 3: "<h", 4: "<I", 5: "<i", 6: "<f", 7: "<?", 10: "<Q",
           11: "<q", 12: "<d"}


class Cursor:
    def __init__(self, data):
        self.data = data
        self.at = 0

    def unpack(self, form):
        (value,) = struct.unpack_from(form, self.data, self.at)
        self.at += struct.calcsize(form)
        return value

    def text(self):
        length = self.unpack("<Q")
        raw = self.data[self.at:self.at + length]
        self.at += length
        return raw.decode("utf-8")

    def value(self, kind):
        if kind == 8:
            return self.text()
        if kind == 9:
            element = self.unpack("<I")
            return [self.value(element) for _ in range(self.unpack("<Q"))]
        return self.unpack(SCALARS[kind])


def blocks(raw, size):
    return np.frombuffer(raw, dtype=np.uint8).reshape(-1, size)


def halves(columns):
    return np.ascontiguousarray(columns).view(np.float16).astype(np.float64)


def q8_0(raw):
    b = blocks(raw, 34)
    return halves(b[:, :2]) * np.ascontiguousarray(b[:, 2:]).view(np.int8)


def q4_0(raw):
    b = blocks(raw, 18)
    nibbles = np.concatenate([b[:, 2:] & 15, b[:, 2:] >> 4], axis=1).astype(np.float64)
    return halves(b[:, :2]) * (nibbles - 8)


def mxfp4(raw):
    b = blocks(raw, 17)
    levels = np.array([0, .5, 1, 1.5, 2, 3, 4, 6, -0., -.5, -1, -1.5, -2, -3, -4, -6])
    scale = np.exp2(b[:, :1].astype(np.float64) - 127)
    return scale * levels[np.concatenate([b[:, 1:] & 15, b[:, 1:] >> 4], axis=1)]


def bf16(raw):
    bits = np.frombuffer(raw, dtype=np.uint16).astype(np.uint32) << 16
    return bits.view(np.float32).astype(np.float64)


# type number -> elements per block, bytes per block, decoder
CODECS = {
    0: (1, 4, lambda raw: np.frombuffer(raw, dtype=np.float32).astype(np.float64)),
    1: (1, 2, lambda raw: np.frombuffer(raw, dtype=np.float16).astype(np.float64)),
    2: (32, 18, q4_0),
    8: (32, 34, q8_0),
    30: (1, 2, bf16),
    39: (32, 17, mxfp4),
}


class File:
    def __init__(self, path):
        data = pathlib.Path(path).read_bytes()
        cursor = Cursor(data)
        if cursor.unpack("<I") != 0x46554747:
            raise SystemExit(f"{path}: not GGUF")
        cursor.unpack("<I")
        tensors, keys = cursor.unpack("<Q"), cursor.unpack("<Q")
        self.keys = {}
        for _ in range(keys):
            name = cursor.text()
            self.keys[name] = cursor.value(cursor.unpack("<I"))
        places = []
        for _ in range(tensors):
            name = cursor.text()
            dims = [cursor.unpack("<Q") for _ in range(cursor.unpack("<I"))]
            places.append((name, dims[::-1], cursor.unpack("<I"), cursor.unpack("<Q")))
        start = (cursor.at + 31) // 32 * 32
        self.tensors = {}
        for name, dims, kind, offset in places:
            elements, size, decode = CODECS[kind]
            count = math.prod(dims) // elements * size
            self.tensors[name] = decode(data[start + offset:start + offset + count]).reshape(dims)
        self.architecture = self.keys["general.architecture"]

    def key(self, name, otherwise=None):
        return self.keys.get(f"{self.architecture}.{name}", otherwise)

    def has(self, name):
        return name in self.tensors

    def get(self, name):
        return self.tensors[name]


# ------------------------------------------------------------------------------------------------
# Pieces that several families share.


def attention_keys(file):
    """Heads, heads of keys and values, elements of one, epsilon of norms."""
    return (file.key("attention.head_count"), file.key("attention.head_count_kv"),
            file.key("attention.key_length"), file.key("attention.layer_norm_rms_epsilon"))


def silu(x):
    return x / (1 + np.exp(-x))


def gelu_tanh(x):
    return 0.5 * x * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)))


def gelu_erf(x):
    return 0.5 * x * (1 + np.vectorize(math.erf)(x / math.sqrt(2)))


def softmax(x):
    e = np.exp(x - x.max(axis=-1, keepdims=True))
    return e / e.sum(axis=-1, keepdims=True)


def rms_norm(x, weight, eps):
    return x / np.sqrt((x * x).mean(axis=-1, keepdims=True) + eps) * weight


def gemma_norm(x, stored, eps):
    """The makers multiply by 1 + w; files hold 1 + w."""
    w = stored - 1
    return x / np.sqrt((x * x).mean(axis=-1, keepdims=True) + eps) * (1 + w)


def layer_norm(x, weight, bias, eps):
    mean = x.mean(axis=-1, keepdims=True)
    variance = ((x - mean) ** 2).mean(axis=-1, keepdims=True)
    return (x - mean) / np.sqrt(variance + eps) * weight + bias


class Weights:
    """The tensors of one layer (or of the model, for layer None)."""

    def __init__(self, file, layer=None):
        self.file = file
        self.prefix = "" if layer is None else f"blk.{layer}."

    def __call__(self, name):
        return self.file.get(self.prefix + name)

    def linear(self, x, name):
        y = x @ self(name + ".weight").T
        bias = self.prefix + name + ".bias"
        return y + self.file.get(bias) if self.file.has(bias) else y


def angles(positions, frequencies):
    a = positions[:, None].astype(np.float32) * frequencies.astype(np.float32)[None, :]
    a = a.astype(np.float64)
    return np.cos(a)[:, None, :], np.sin(a)[:, None, :]


def plain_frequencies(base, rotated):
    return 1.0 / base ** (np.arange(0, rotated, 2) / rotated)


def rotate_halves(x, cos, sin):
    """x [T,heads,n]: the first half of the rotated part is paired with the second (rotate_half of
    Hugging Face)."""
    n = 2 * cos.shape[-1]
    a, b, rest = x[..., :n // 2], x[..., n // 2:n], x[..., n:]
    return np.concatenate([a * cos - b * sin, b * cos + a * sin, rest], axis=-1)


def rotate_pairs(x, cos, sin):
    """x [T,heads,n]: neighbours are a complex number's two parts (Meta's llama)."""
    n = 2 * cos.shape[-1]
    z = (x[..., 0:n:2] + 1j * x[..., 1:n:2]) * (cos + 1j * sin)
    y = np.stack([z.real, z.imag], axis=-1).reshape(*x.shape[:-1], n)
    return np.concatenate([y, x[..., n:]], axis=-1)


def visible(tokens, window):
    i, j = np.arange(tokens)[:, None], np.arange(tokens)[None, :]
    mask = j <= i
    return mask & (j > i - window) if window else mask


def attend(q, k, v, scale, mask, cap=0.0, sinks=None):
    """q [T,H,dk], k [T,G,dk], v [T,G,dv] -> [T,H*dv]; H/G neighbouring query heads share a head of
    k and v."""
    tokens, heads, _ = q.shape
    repeat = heads // k.shape[1]
    k, v = np.repeat(k, repeat, axis=1), np.repeat(v, repeat, axis=1)
    scores = np.einsum("ihd,jhd->hij", q, k) * scale
    if cap:
        scores = np.tanh(scores / cap) * cap
    scores = np.where(mask[None], scores, -np.inf)
    if sinks is not None:
        column = np.broadcast_to(sinks[:, None, None], (heads, tokens, 1))
        scores = np.concatenate([scores, column], axis=-1)
    p = softmax(scores)[..., :tokens]
    return np.einsum("hij,jhd->ihd", p, v).reshape(tokens, -1)


def split_heads(x, heads):
    return x.reshape(x.shape[0], heads, -1)


def inputs(w, x, heads, kv_heads):
    """q, k and v by head."""
    counts = {"q": heads, "k": kv_heads, "v": kv_heads}
    return (split_heads(w.linear(x, f"attn_{name}"), n) for name, n in counts.items())


def gated(w, x, activation=silu):
    return w.linear(activation(w.linear(x, "ffn_gate")) * w.linear(x, "ffn_up"), "ffn_down")


def best(scores, k):
    """Indices of the k largest, ties to the lower index."""
    return np.argsort(-scores, kind="stable")[:k]


def expert_output(w, x, e, activate):
    """One token through expert e."""
    def part(name, x):
        y = w(f"{name}.weight")[e] @ x
        bias = f"{w.prefix}{name}.bias"
        return y + w.file.get(bias)[e] if w.file.has(bias) else y
    return part("ffn_down_exps", activate(part("ffn_gate_exps", x), part("ffn_up_exps", x)))


def mixture(w, x, choose, activate=lambda g, u: silu(g) * u):
    """choose(row of x) -> list of (expert, weight)."""
    out = np.zeros_like(x)
    for t, row in enumerate(x):
        for e, weight in choose(row):
            out[t] += weight * expert_output(w, row, e, activate)
    return out


# ------------------------------------------------------------------------------------------------
# Families. Each takes the file and token ids and returns logits [T,V], or one embedding [1,d].


def finish(file, x, eps, norm=rms_norm):
    w = Weights(file)
    x = norm(x, w("output_norm.weight"), eps)
    head = "output.weight" if file.has("output.weight") else "token_embd.weight"
    return x @ w(head).T


def llama31_frequencies(frequencies, factor=8.0, low=1.0, high=4.0, original=8192.0):
    """apply_scaling of Meta's release."""
    out = []
    for f in frequencies:
        wavelength = 2 * math.pi / f
        if wavelength < original / high:
            out.append(f)
        elif wavelength > original / low:
            out.append(f / factor)
        else:
            smooth = (original / wavelength - low) / (high - low)
            out.append((1 - smooth) * f / factor + smooth * f)
    return np.array(out)


def llama(file, ids):
    heads, kv_heads, dim, eps = attention_keys(file)
    x = file.get("token_embd.weight")[ids]
    frequencies = plain_frequencies(file.key("rope.freq_base"), dim)
    if file.has("rope_freqs.weight"):
        frequencies = llama31_frequencies(frequencies)
    cos, sin = angles(np.arange(len(ids)), frequencies)
    mask = visible(len(ids), file.key("attention.sliding_window", 0))
    for layer in range(file.key("block_count")):
        w = Weights(file, layer)
        h = rms_norm(x, w("attn_norm.weight"), eps)
        q, k, v = inputs(w, h, heads, kv_heads)
        q, k = rotate_pairs(q, cos, sin), rotate_pairs(k, cos, sin)
        x = x + w.linear(attend(q, k, v, q.shape[-1] ** -0.5, mask), "attn_output")
        h = rms_norm(x, w("ffn_norm.weight"), eps)
        if not file.key("expert_count", 0):
            x = x + gated(w, h)
            continue

        def mixtral(row):  # Mistral's release: softmax over the chosen logits
            logits = w("ffn_gate_inp.weight") @ row
            chosen = best(logits, file.key("expert_used_count"))
            return list(zip(chosen, softmax(logits[chosen])))
        x = x + mixture(w, h, mixtral)
    return finish(file, x, eps)


def qwen(file, ids):
    """Qwen2 and 2.5 (biases), Qwen3 (norms of heads), Qwen3-MoE."""
    heads, kv_heads, dim, eps = attention_keys(file)
    x = file.get("token_embd.weight")[ids]
    cos, sin = angles(np.arange(len(ids)), plain_frequencies(file.key("rope.freq_base"), dim))
    mask = visible(len(ids), 0)
    for layer in range(file.key("block_count")):
        w = Weights(file, layer)
        h = rms_norm(x, w("attn_norm.weight"), eps)
        q, k, v = inputs(w, h, heads, kv_heads)
        if file.architecture != "qwen2":
            q = rms_norm(q, w("attn_q_norm.weight"), eps)
            k = rms_norm(k, w("attn_k_norm.weight"), eps)
        else:
            assert file.has("blk.0.attn_q.bias")
        q, k = rotate_halves(q, cos, sin), rotate_halves(k, cos, sin)
        x = x + w.linear(attend(q, k, v, q.shape[-1] ** -0.5, mask), "attn_output")
        h = rms_norm(x, w("ffn_norm.weight"), eps)
        if file.architecture != "qwen3moe":
            x = x + gated(w, h)
            continue

        def choose(row):  # norm_topk_prob
            p = softmax(w("ffn_gate_inp.weight") @ row)
            chosen = best(p, file.key("expert_used_count"))
            return list(zip(chosen, p[chosen] / p[chosen].sum()))
        x = x + mixture(w, h, choose)
    return finish(file, x, eps)


def gemma(file, ids):
    """Gemma, Gemma 2 and 3."""
    is_second, is_third = file.architecture == "gemma2", file.architecture == "gemma3"
    heads, kv_heads, dim, eps = attention_keys(file)
    x = file.get("token_embd.weight")[ids] * math.sqrt(file.key("embedding_length"))
    positions = np.arange(len(ids))
    everywhere = plain_frequencies(file.key("rope.freq_base"), dim)
    nearby = everywhere
    if is_third:
        nearby = plain_frequencies(10000.0, dim)
        everywhere = everywhere / file.key("rope.scaling.factor")
    for layer in range(file.key("block_count")):
        w = Weights(file, layer)
        is_local = (is_third and (layer + 1) % 6 != 0) or (is_second and (layer + 1) % 2 != 0)
        cos, sin = angles(positions, nearby if is_local else everywhere)
        mask = visible(len(ids), file.key("attention.sliding_window") if is_local else 0)
        q, k, v = inputs(w, gemma_norm(x, w("attn_norm.weight"), eps), heads, kv_heads)
        if is_third:
            q = gemma_norm(q, w("attn_q_norm.weight"), eps)
            k = gemma_norm(k, w("attn_k_norm.weight"), eps)
        q, k = rotate_halves(q, cos, sin), rotate_halves(k, cos, sin)
        cap = file.key("attn_logit_softcapping") if is_second else 0
        a = w.linear(attend(q, k, v, dim ** -0.5, mask, cap), "attn_output")
        has_post = is_second or is_third
        x = x + (gemma_norm(a, w("post_attention_norm.weight"), eps) if has_post else a)
        m = gated(w, gemma_norm(x, w("ffn_norm.weight"), eps), gelu_tanh)
        x = x + (gemma_norm(m, w("post_ffw_norm.weight"), eps) if has_post else m)
    logits = finish(file, x, eps, gemma_norm)
    cap = file.key("final_logit_softcapping") if is_second else 0
    return np.tanh(logits / cap) * cap if cap else logits


def phi3(file, ids):
    """Phi-3 with LongRoPE; the list of factors is chosen by the longest context that is served."""
    heads, kv_heads, dim, eps = attention_keys(file)
    context = file.key("context_length")
    original = file.key("rope.scaling.original_context_length")
    factors = file.get(f"rope_factors_{'long' if context > original else 'short'}.weight")
    frequencies = plain_frequencies(file.key("rope.freq_base"), dim) / factors
    cos, sin = angles(np.arange(len(ids)), frequencies)
    stretch = context / original
    factor = 1.0 if stretch <= 1 else math.sqrt(1 + math.log(stretch) / math.log(original))
    cos, sin = cos * factor, sin * factor
    mask = visible(len(ids), file.key("attention.sliding_window", 0))
    x = file.get("token_embd.weight")[ids]
    for layer in range(file.key("block_count")):
        w = Weights(file, layer)
        qkv = w.linear(rms_norm(x, w("attn_norm.weight"), eps), "attn_qkv")
        q, k, v = np.split(qkv, [heads * dim, (heads + kv_heads) * dim], axis=1)
        q, k, v = split_heads(q, heads), split_heads(k, kv_heads), split_heads(v, kv_heads)
        q, k = rotate_halves(q, cos, sin), rotate_halves(k, cos, sin)
        x = x + w.linear(attend(q, k, v, dim ** -0.5, mask), "attn_output")
        gate, up = np.split(w.linear(rms_norm(x, w("ffn_norm.weight"), eps), "ffn_up"), 2, axis=1)
        x = x + w.linear(up * silu(gate), "ffn_down")
    return finish(file, x, eps)


def glm4(file, ids):
    heads, kv_heads, dim, eps = attention_keys(file)
    rotated = file.key("rope.dimension_count")
    cos, sin = angles(np.arange(len(ids)), plain_frequencies(file.key("rope.freq_base"), rotated))
    mask = visible(len(ids), 0)
    x = file.get("token_embd.weight")[ids]
    for layer in range(file.key("block_count")):
        w = Weights(file, layer)
        h = rms_norm(x, w("attn_norm.weight"), eps)
        q, k, v = inputs(w, h, heads, kv_heads)
        q, k = rotate_pairs(q, cos, sin), rotate_pairs(k, cos, sin)
        a = w.linear(attend(q, k, v, dim ** -0.5, mask), "attn_output")
        x = x + rms_norm(a, w("post_attention_norm.weight"), eps)
        gate, up = np.split(w.linear(rms_norm(x, w("ffn_norm.weight"), eps), "ffn_up"), 2, axis=1)
        x = x + rms_norm(w.linear(silu(gate) * up, "ffn_down"), w("post_ffw_norm.weight"), eps)
    return finish(file, x, eps)


def gpt_oss(file, ids):
    """As OpenAI's reference: YaRN whose ramp is not cut to whole pairs, a score for "no key" per
    head, clamped gates."""
    heads, kv_heads, dim, eps = attention_keys(file)
    base, factor = file.key("rope.freq_base"), file.key("rope.scaling.factor")
    context = file.key("rope.scaling.original_context_length")
    half = dim / 2
    low = half * math.log(context / (32.0 * 2 * math.pi)) / math.log(base)
    high = half * math.log(context / (1.0 * 2 * math.pi)) / math.log(base)
    slow = 1.0 / base ** (np.arange(0, dim, 2) / dim)
    # The release asserts 0 < low < high < half - 1 for its numbers; tiny models need the limits.
    low, high = max(low, 0), min(high, dim - 1)
    keep = 1 - np.clip((np.arange(half) - low) / (high - low), 0, 1)
    concentration = 0.1 * math.log(factor) + 1
    cos, sin = angles(np.arange(len(ids)), slow / factor * (1 - keep) + slow * keep)
    cos, sin = cos * concentration, sin * concentration

    def activate(gate, up):
        gate, up = np.minimum(gate, 7.0), np.clip(up, -7.0, 7.0)
        return gate / (1 + np.exp(-1.702 * gate)) * (up + 1)

    x = file.get("token_embd.weight")[ids]
    for layer in range(file.key("block_count")):
        w = Weights(file, layer)
        h = rms_norm(x, w("attn_norm.weight"), eps)
        q, k, v = inputs(w, h, heads, kv_heads)
        q, k = rotate_halves(q, cos, sin), rotate_halves(k, cos, sin)
        mask = visible(len(ids), file.key("attention.sliding_window") if layer % 2 == 0 else 0)
        a = attend(q, k, v, dim ** -0.5, mask, sinks=w("attn_sinks.weight"))
        x = x + w.linear(a, "attn_output")
        h = rms_norm(x, w("post_attention_norm.weight"), eps)

        def choose(row):
            logits = w("ffn_gate_inp.weight") @ row + w("ffn_gate_inp.bias")
            chosen = best(logits, file.key("expert_used_count"))
            return list(zip(chosen, softmax(logits[chosen])))
        x = x + mixture(w, h, choose, activate)
    return finish(file, x, eps)


def deepseek_frequencies(file, rotated):
    """YaRN as in DeepSeek's releases, with beta 32 and 1."""
    base = file.key("rope.freq_base")
    context = file.key("rope.scaling.original_context_length")
    plain = plain_frequencies(base, rotated)

    def where(turns):
        return rotated * math.log(context / (turns * 2 * math.pi)) / (2 * math.log(base))

    low, high = max(math.floor(where(32)), 0), min(math.ceil(where(1)), rotated - 1)
    ramp = np.clip((np.arange(rotated // 2) - low) / max(high - low, 0.001), 0, 1)
    return plain / file.key("rope.scaling.factor") * ramp + plain * (1 - ramp)


def deepseek_experts(file, w):
    """V2: greedy by softmax. V3: sigmoid, a bias for choosing only, groups by their two best."""
    used, groups = file.key("expert_used_count"), file.key("expert_group_count", 1)
    scale = file.key("expert_weights_scale", 1.0)

    def choose(row):
        logits = w("ffn_gate_inp.weight") @ row
        if file.key("expert_gating_func") == 1:
            p = softmax(logits)
            chosen = best(p, used)
            return list(zip(chosen, p[chosen] * scale))
        p = 1 / (1 + np.exp(-logits))
        biased = p + w("exp_probs_b.bias")
        runs = biased.reshape(groups, -1)
        kept = best(np.sort(runs, axis=1)[:, -2:].sum(axis=1), file.key("expert_group_used_count"))
        allowed = np.full_like(runs, -np.inf)
        allowed[kept] = runs[kept]
        chosen = best(allowed.reshape(-1), used)
        weights = p[chosen]
        if file.key("expert_weights_norm", False):
            weights = weights / weights.sum()
        return list(zip(chosen, weights * scale))
    return choose


def deepseek(file, ids):
    """Keys and values of every head are made in full; nothing is absorbed."""
    heads, rank = file.key("attention.head_count"), file.key("attention.kv_lora_rank")
    rotated, key_dim = file.key("rope.dimension_count"), file.key("attention.key_length_mla")
    nope, eps = key_dim - rotated, file.key("attention.layer_norm_rms_epsilon")
    cos, sin = angles(np.arange(len(ids)), deepseek_frequencies(file, rotated))
    multiplier, factor = (file.key(f"rope.scaling.{k}") for k in ("yarn_log_multiplier", "factor"))
    mscale = multiplier * math.log(factor) + 1
    scale = key_dim ** -0.5 * mscale * mscale
    mask = visible(len(ids), 0)
    x = file.get("token_embd.weight")[ids]
    for layer in range(file.key("block_count")):
        w = Weights(file, layer)
        h = rms_norm(x, w("attn_norm.weight"), eps)
        if file.has(f"blk.{layer}.attn_q_a.weight"):
            q = rms_norm(w.linear(h, "attn_q_a"), w("attn_q_a_norm.weight"), eps)
            q = w.linear(q, "attn_q_b")
        else:
            q = w.linear(h, "attn_q")
        q = split_heads(q, heads)
        row = w.linear(h, "attn_kv_a_mqa")
        latent = rms_norm(row[:, :rank], w("attn_kv_a_norm.weight"), eps)
        shared = rotate_pairs(row[:, None, rank:], cos, sin)
        q = np.concatenate([q[..., :nope], rotate_pairs(q[..., nope:], cos, sin)], axis=-1)
        k = np.einsum("tr,hrn->thn", latent, w("attn_k_b.weight"))
        k = np.concatenate([k, np.repeat(shared, heads, axis=1)], axis=-1)
        v = np.einsum("tr,hvr->thv", latent, w("attn_v_b.weight"))
        x = x + w.linear(attend(q, k, v, scale, mask), "attn_output")
        h = rms_norm(x, w("ffn_norm.weight"), eps)
        if layer < file.key("leading_dense_block_count", 0):
            x = x + gated(w, h)
            continue
        shared_expert = silu(w.linear(h, "ffn_gate_shexp")) * w.linear(h, "ffn_up_shexp")
        x = x + mixture(w, h, deepseek_experts(file, w)) + w.linear(shared_expert, "ffn_down_shexp")
    return finish(file, x, eps)


def bert(file, ids):
    heads, eps = file.key("attention.head_count"), file.key("attention.layer_norm_epsilon")
    top = Weights(file)
    x = top("token_embd.weight")[ids] + top("position_embd.weight")[:len(ids)]
    x = x + top("token_types.weight")[0]
    x = layer_norm(x, top("token_embd_norm.weight"), top("token_embd_norm.bias"), eps)
    everyone = np.ones((len(ids), len(ids)), dtype=bool)
    for layer in range(file.key("block_count")):
        w = Weights(file, layer)
        q, k, v = (split_heads(w.linear(x, f"attn_{name}"), heads) for name in "qkv")
        a = w.linear(attend(q, k, v, q.shape[-1] ** -0.5, everyone), "attn_output")
        x = layer_norm(x + a, w("attn_output_norm.weight"), w("attn_output_norm.bias"), eps)
        m = w.linear(gelu_erf(w.linear(x, "ffn_up")), "ffn_down")
        x = layer_norm(x + m, w("layer_output_norm.weight"), w("layer_output_norm.bias"), eps)
    pooled = {1: x.mean(axis=0), 2: x[0], 3: x[-1]}[file.key("pooling_type")]
    return (pooled / np.linalg.norm(pooled))[None]


FAMILIES = {
    "llama": llama, "qwen2": qwen, "qwen3": qwen, "qwen3moe": qwen, "gemma": gemma,
    "gemma2": gemma, "gemma3": gemma, "phi3": phi3, "glm4": glm4, "gpt-oss": gpt_oss,
    "deepseek2": deepseek, "bert": bert,
}


def outputs(path, ids, rows):
    """The rows asked for, of logits or (one row) of the embedding."""
    file = File(path)
    if file.architecture not in FAMILIES:
        raise SystemExit(f"{path}: architecture {file.architecture} is not one of: "
                         + ", ".join(FAMILIES))
    all_rows = FAMILIES[file.architecture](file, np.array(ids))
    return all_rows if file.architecture == "bert" else all_rows[rows]


# ------------------------------------------------------------------------------------------------
# Records: {"codec", "seed", "ids", "rows", "outputs"}, one per tiny model.

TOKENS = 40
CODEC_OF = {"tiny-gpt-oss": "mxfp4", "tiny-glm4": "q4_0", "tiny-phi3": "f16", "tiny-qwen2": "bf16",
            "tiny-deepseek2": "f32"}


def new_record(name):
    ids = [(7 * i * i + 13 * i + 5) % 319 for i in range(TOKENS)]
    return {"codec": CODEC_OF.get(name, "q8_0"), "seed": 1, "ids": ids, "rows": [3, TOKENS - 1]}


def tiny_names():
    words = (ROOT / "src/model/synth_shapes.cc").read_text().split('"')
    return sorted({word for word in words if word.startswith("tiny-")})


def record_text(record):
    rows = ",\n    ".join(f"[{', '.join(f'{v:.7g}' for v in row)}]" for row in record["outputs"])
    keys = ("codec", "seed", "ids", "rows")
    head = ",\n  ".join(f'"{key}": {json.dumps(record[key])}' for key in keys)
    return f'{{\n  {head},\n  "outputs": [\n    {rows}\n  ]\n}}\n'


def find_model(args, folder, name, record):
    if args.files:
        return pathlib.Path(args.files) / f"{name}.gguf"
    path = pathlib.Path(folder) / f"{name}.gguf"
    subprocess.run([args.tokengrid, "model", "synth", "--shape", name, "--codec", record["codec"],
                    "--seed", str(record["seed"]), "-o", str(path)],
                   check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    return path


def compare(name, computed, recorded):
    recorded = np.array(recorded)
    if computed.shape != recorded.shape:
        return f"{name}: shape {computed.shape}, recorded {recorded.shape}"
    worst = np.abs(computed - recorded).max() / np.abs(recorded).max()
    return "" if worst <= TOLERANCE else f"{name}: differs by {worst:.2e} of the largest output"


def check_or_write(args):
    failures = []
    names = tiny_names()
    with tempfile.TemporaryDirectory() as folder:
        for name in names:
            path = RECORDS / f"{name}.json"
            is_new = args.command == "write" or not path.exists()
            record = new_record(name) if is_new else json.loads(path.read_text())
            model = find_model(args, folder, name, record)
            computed = outputs(model, record["ids"], record["rows"])
            if args.command == "write":
                path.write_text(record_text(record | {"outputs": computed.tolist()}))
            elif "outputs" not in record:
                failures.append(f"{name}: no record {path}")
            else:
                failures += filter(None, [compare(name, computed, record["outputs"])])
    for failure in failures:
        print(failure, file=sys.stderr)
    print(f"reference_model: {len(names)} families, {len(failures)} failures")
    return 1 if failures else 0


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    commands = parser.add_subparsers(dest="command", required=True)
    shown = commands.add_parser("outputs")
    shown.add_argument("file")
    shown.add_argument("--ids", required=True)
    shown.add_argument("--rows")
    for name in ("check", "write"):
        command = commands.add_parser(name)
        command.add_argument("--tokengrid", default=os.environ.get("TOKENGRID", BINARY))
        command.add_argument("--files")
    args = parser.parse_args()
    if np is None:
        print("reference_model: numpy is not installed (Debian: python3-numpy); nothing checked")
        return 0 if args.command == "check" else 1
    if args.command != "outputs":
        return check_or_write(args)
    ids = [int(i) for i in args.ids.split(",")]
    rows = [int(i) for i in args.rows.split(",")] if args.rows else [len(ids) - 1]
    print(json.dumps(outputs(args.file, ids, rows).tolist()))
    return 0


if __name__ == "__main__":
    sys.exit(main())
