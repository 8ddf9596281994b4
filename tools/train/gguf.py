"""GGUF version 3: a small writer and reader, F32 and Q8_0 tensors only."""
import os
import struct

import numpy as np

U32, I32, F32, BOOL, STRING, ARRAY, U64 = 4, 5, 6, 7, 8, 9, 10
TYPE_F32, TYPE_Q8_0 = 0, 8
ALIGN = 32


def _string(s):
    b = s.encode("utf-8")
    return struct.pack("<Q", len(b)) + b


def _value(kind, v):
    if kind == STRING:
        return _string(v)
    if kind == ARRAY:
        inner, items = v
        return struct.pack("<IQ", inner, len(items)) + b"".join(_value(inner, x) for x in items)
    return struct.pack({U32: "<I", I32: "<i", F32: "<f", BOOL: "<?", U64: "<Q"}[kind], v)


def quantize_q8_0(x):
    """Blocks of 32: scale d = max|x| / 127 as float16, values round(x / d), halves away from zero.
    As in ggml, the division uses the float32 scale, before it is rounded to float16."""
    b = np.ascontiguousarray(x, np.float32).reshape(-1, 32)
    d = (np.abs(b).max(1) / np.float32(127)).astype(np.float32)
    inv = np.where(d > 0, np.float32(1) / np.where(d > 0, d, 1), 0).astype(np.float32)
    y = b * inv[:, None]
    q = (np.sign(y) * np.floor(np.abs(y) + np.float32(0.5))).astype(np.int8)
    out = np.empty(len(b), np.dtype([("d", "<f2"), ("q", "i1", 32)]))
    out["d"], out["q"] = d.astype(np.float16), q
    return out.tobytes()


def write(path, meta, tensors):
    """meta: list of (key, kind, value). tensors: list of (name, float32 array, type); written atomically."""
    info, blobs, offset = b"", [], 0
    for name, x, kind in tensors:
        data = quantize_q8_0(x) if kind == TYPE_Q8_0 else np.ascontiguousarray(x, "<f4").tobytes()
        dims = x.shape[::-1]  # GGUF lists the fastest dimension first
        info += _string(name) + struct.pack("<I", len(dims)) + b"".join(struct.pack("<Q", d) for d in dims) + struct.pack("<IQ", kind, offset)
        blobs.append(data + bytes(-len(data) % ALIGN))
        offset += len(blobs[-1])
    head = b"GGUF" + struct.pack("<IQQ", 3, len(tensors), len(meta))
    head += b"".join(_string(k) + struct.pack("<I", t) + _value(t, v) for k, t, v in meta) + info
    part = path + ".tmp"
    with open(part, "wb") as f:
        f.write(head + bytes(-len(head) % ALIGN))
        for b in blobs:
            f.write(b)
    os.replace(part, path)


def read(path):
    """(metadata, name -> float32 array), Q8_0 dequantised as q * float32(d)."""
    raw = open(path, "rb").read()
    pos = 0

    def take(fmt):
        nonlocal pos
        v = struct.unpack_from("<" + fmt, raw, pos)
        pos += struct.calcsize("<" + fmt)
        return v[0] if len(v) == 1 else v

    def text():
        nonlocal pos
        n = take("Q")
        pos += n
        return raw[pos - n:pos].decode("utf-8")

    def value(kind):
        if kind == STRING:
            return text()
        if kind == ARRAY:
            inner, n = take("I"), take("Q")
            return [value(inner) for _ in range(n)]
        return take({U32: "I", I32: "i", F32: "f", BOOL: "?", U64: "Q"}[kind])

    if raw[:4] != b"GGUF":
        raise ValueError("not a GGUF file")
    pos = 4
    version, n_tensors, n_meta = take("I"), take("Q"), take("Q")
    if version != 3:
        raise ValueError("GGUF version %d" % version)
    meta = {}
    for _ in range(n_meta):
        key = text()
        meta[key] = value(take("I"))
    infos = []
    for _ in range(n_tensors):
        name = text()
        dims = [take("Q") for _ in range(take("I"))]
        kind, offset = take("I"), take("Q")
        infos.append((name, dims[::-1], kind, offset))
    base = (pos + ALIGN - 1) // ALIGN * ALIGN
    out = {}
    for name, shape, kind, offset in infos:
        n = int(np.prod(shape))
        if kind == TYPE_F32:
            x = np.frombuffer(raw, "<f4", n, base + offset)
        elif kind == TYPE_Q8_0:
            b = np.frombuffer(raw, np.dtype([("d", "<f2"), ("q", "i1", 32)]), n // 32, base + offset)
            x = (b["q"].astype(np.float32) * b["d"].astype(np.float32)[:, None]).reshape(-1)
        else:
            raise ValueError("tensor type %d" % kind)
        out[name] = x.reshape(shape)
    return meta, out
