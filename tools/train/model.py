"""The Llama architecture (RMSNorm, interleaved RoPE, grouped-query attention, SwiGLU, tied embeddings),
written so that a CPU with bf16 matrix units trains it quickly: matrix products cost next to nothing
there, so the rest is arranged for few passes over memory.

* Activations are bf16, master weights float32.
* RoPE: rotating a vector by pairs is x*cos + swap(x)*sin. swap(x) is made by a product with a permuted
  copy of the weights, not by shuffling memory.
* The gain of an RMSNorm is multiplied into the columns of the weights that follow it.
* RMSNorm, SwiGLU and the loss have hand-written backward passes.
"""
import math
from dataclasses import dataclass, asdict

import torch
import torch.nn.functional as F


PART = 128  # queries are handled in parts of this many tokens


@dataclass
class Config:
    vocab: int = 2048
    dim: int = 256
    layers: int = 8
    heads: int = 8
    kv_heads: int = 4
    ffn: int = 768
    context: int = 512
    rope_base: float = 10000.0
    eps: float = 1e-5

    @property
    def head_dim(self):
        return self.dim // self.heads

    def dict(self):
        return asdict(self)


def shapes(c):
    """Name -> shape of every parameter; names follow GGUF."""
    kv = c.kv_heads * c.head_dim
    out = {"token_embd": (c.vocab, c.dim), "output_norm": (c.dim,)}
    for i in range(c.layers):
        b = "blk.%d." % i
        out.update({b + "attn_norm": (c.dim,), b + "attn_q": (c.dim, c.dim), b + "attn_k": (kv, c.dim), b + "attn_v": (kv, c.dim),
                    b + "attn_output": (c.dim, c.dim), b + "ffn_norm": (c.dim,), b + "ffn_gate": (c.ffn, c.dim),
                    b + "ffn_up": (c.ffn, c.dim), b + "ffn_down": (c.dim, c.ffn)})
    return out


def init(c, seed):
    g = torch.Generator().manual_seed(seed)
    params = {}
    for name, shape in shapes(c).items():
        if name.endswith("norm"):
            params[name] = torch.ones(shape)
        else:
            std = 0.02 if name == "token_embd" else 0.5 / math.sqrt(shape[1])
            if name.endswith(("attn_output", "ffn_down")):
                std /= math.sqrt(2 * c.layers)
            params[name] = torch.randn(shape, generator=g) * std
    return params


class Norm(torch.autograd.Function):
    """x / rms(x), without gain."""

    @staticmethod
    def forward(ctx, x, eps):
        r = torch.linalg.vector_norm(x, dim=-1, keepdim=True, dtype=torch.float32)
        r = torch.rsqrt(r * r / x.shape[-1] + eps).to(x.dtype)
        y = x * r
        ctx.save_for_backward(y, r)
        return y

    @staticmethod
    def backward(ctx, dy):
        y, r = ctx.saved_tensors
        m = (dy * y).mean(-1, keepdim=True)
        return torch.addcmul(dy, y, m, value=-1).mul_(r), None


class SwiGLU(torch.autograd.Function):
    """silu(gate) * up for gate and up side by side in one tensor."""

    @staticmethod
    def forward(ctx, gu):
        g, u = gu.chunk(2, -1)
        s = torch.sigmoid(g)
        ctx.save_for_backward(gu, s)
        return (g * s).mul_(u)

    @staticmethod
    def backward(ctx, dh):
        gu, s = ctx.saved_tensors
        g, u = gu.chunk(2, -1)
        gs = g * s
        out = torch.empty_like(gu)
        dg, du = out.chunk(2, -1)
        torch.mul(dh, gs, out=du)
        # d silu = s + gs * (1 - s) = s + gs - gs*s
        t = torch.addcmul(s + gs, gs, s, value=-1)
        torch.mul(t.mul_(u), dh, out=dg)
        return out


class Loss(torch.autograd.Function):
    """Weighted cross-entropy of logits = x @ emb.T, averaged over the weights."""

    @staticmethod
    def forward(ctx, x, emb, target, weight):
        p = torch.softmax(F.linear(x, emb).float(), -1)
        picked = p.gather(1, target[:, None])
        weight = (weight / weight.sum())[:, None]
        loss = -(picked.clamp_min(1e-20).log() * weight).sum()
        p.scatter_add_(1, target[:, None], torch.full_like(picked, -1.0))
        ctx.save_for_backward(x, emb, p.mul_(weight).to(x.dtype))
        return loss

    @staticmethod
    def backward(ctx, d):
        x, emb, g = ctx.saved_tensors
        return g @ emb, g.t() @ x, None, None


def swap_rows(w, head_dim):
    """Rows (2i, 2i+1) of each head become (-row 2i+1, row 2i)."""
    v = w.view(-1, head_dim // 2, 2, w.shape[-1])
    return torch.stack((-v[:, :, 1], v[:, :, 0]), 2).view_as(w)


class Tables:
    """cos and sin (the query part scaled by 1/sqrt(head_dim)) per sequence length, and causal masks."""

    def __init__(self, c, device, dtype):
        self.c, self.device, self.dtype, self.made = c, device, dtype, {}

    def get(self, t):
        if t not in self.made:
            c, hd = self.c, self.c.head_dim
            freq = c.rope_base ** (-torch.arange(0, hd, 2).double() / hd)
            angle = (torch.arange(t).double()[:, None] * freq).repeat_interleave(2, -1)
            scale = torch.cat((torch.full((c.dim,), hd ** -0.5), torch.ones(c.kv_heads * hd))).double()
            n = c.heads + c.kv_heads
            cos, sin = (f(angle).repeat(1, n) * scale for f in (torch.cos, torch.sin))
            self.made[t] = tuple(x.to(self.device, self.dtype) for x in (cos, sin))
        return self.made[t]

    def mask(self, s):
        key = "mask", s
        if key not in self.made:
            mask = torch.full((s, s), -1e30).triu(1).repeat(self.c.heads // self.c.kv_heads, 1)
            self.made[key] = mask.to(self.device, self.dtype)
        return self.made[key]


def attend(q, k, v, mask, s):
    """Queries of one part against all keys up to its end; only the last s keys need the mask."""
    a = torch.bmm(q, k.transpose(1, 2))
    a[:, :, -s:].add_(mask)
    return torch.bmm(torch.softmax(a, -1), v)


def hidden(p, c, tables, ids):
    """Activations before the last product. p: name -> tensor in the working precision."""
    b, t = ids.shape
    hd, kv, g = c.head_dim, c.kv_heads, c.heads // c.kv_heads
    cos, sin = tables.get(t)
    s = PART if t % PART == 0 else t
    parts, mask = t // s, tables.mask(s)
    rot = c.dim + kv * hd
    x = F.embedding(ids, p["token_embd"])
    for i in range(c.layers):
        n = "blk.%d." % i
        wq, wk, wv = (p[n + k] * p[n + "attn_norm"] for k in ("attn_q", "attn_k", "attn_v"))
        w = torch.cat((wq, wk, swap_rows(wq, hd), swap_rows(wk, hd), wv))
        y = F.linear(Norm.apply(x, c.eps), w)
        straight, swapped, v = y.split((rot, rot, kv * hd), -1)  # split, not slices: its backward is one cat
        q, k = torch.addcmul(straight * cos, swapped, sin).split((c.dim, kv * hd), -1)
        q = q.reshape(b, parts, s, kv, g, hd).permute(1, 0, 3, 4, 2, 5).reshape(parts, b * kv, g * s, hd)
        k = k.reshape(b, t, kv, hd).transpose(1, 2).reshape(b * kv, t, hd)
        v = v.reshape(b, t, kv, hd).transpose(1, 2).reshape(b * kv, t, hd)
        # part j of the queries sees the keys of parts 0..j only: no work for most of the masked half
        o = torch.stack([attend(qj, k[:, :(j + 1) * s], v[:, :(j + 1) * s], mask, s) for j, qj in enumerate(q.unbind())])
        o = o.view(parts, b, kv, g, s, hd).permute(1, 0, 4, 2, 3, 5).reshape(b, t, c.dim)
        x = x + F.linear(o, p[n + "attn_output"])
        w = torch.cat((p[n + "ffn_gate"], p[n + "ffn_up"])) * p[n + "ffn_norm"]
        x = x + F.linear(SwiGLU.apply(F.linear(Norm.apply(x, c.eps), w)), p[n + "ffn_down"])
    return Norm.apply(x, c.eps)


def loss(p, c, tables, ids, target, weight):
    x = hidden(p, c, tables, ids)
    return Loss.apply(x.reshape(-1, c.dim), p["token_embd"] * p["output_norm"], target.reshape(-1), weight.reshape(-1))
