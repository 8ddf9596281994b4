#!/usr/bin/env python3
"""Writes codec_blocks.txt: random blocks of every codec and the SHA-256 of the f32 values they hold.

An independent reading of the layouts, in exact fractions rounded once to f32, that codec.cc is
compared with. Usage: codec_blocks.py > codec_blocks.txt
"""
import hashlib
import random
import struct
from fractions import Fraction

IQ4 = (-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113)
E2M1 = tuple(Fraction(x, 2) for x in (0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12))


def f32_bytes(x):
    """A fraction to the nearest f32, halves to even; no overflow here."""
    if x == 0:
        return bytes(4)
    sign, x = (1 << 31, -x) if x < 0 else (0, x)
    exponent = -149
    while x / Fraction(2) ** exponent >= 1 << 24:
        exponent += 1
    scaled = x / Fraction(2) ** exponent
    whole = scaled.numerator // scaled.denominator
    rest = scaled - whole
    if rest > Fraction(1, 2) or (rest == Fraction(1, 2) and whole & 1):
        whole += 1
    bits = whole if exponent == -149 else whole + ((exponent + 149) << 23)
    return struct.pack("<I", sign | bits)


def f16(b, at):
    return Fraction(struct.unpack_from("<e", b, at)[0])


def e4m3(byte):
    sign = -1 if byte & 128 else 1
    exponent, fraction = byte >> 3 & 15, byte & 7
    if exponent == 0:
        return sign * Fraction(fraction, 512)
    return sign * (1 + Fraction(fraction, 8)) * Fraction(2) ** (exponent - 7)


def e5m2(byte):
    return Fraction(struct.unpack("<e", bytes((0, byte)))[0])


def nibbles(b):
    return [x & 15 for x in b] + [x >> 4 for x in b]


def word(b, at, n):
    return int.from_bytes(b[at:at + n], "little")


def q4_0(b):
    return [f16(b, 0) * (q - 8) for q in nibbles(b[2:18])]


def q4_1(b):
    return [f16(b, 0) * q + f16(b, 2) for q in nibbles(b[4:20])]


def q5_0(b):
    high = word(b, 2, 4)
    return [f16(b, 0) * (q + 16 * (high >> i & 1) - 16) for i, q in enumerate(nibbles(b[6:22]))]


def q5_1(b):
    high = word(b, 4, 4)
    return [f16(b, 0) * (q + 16 * (high >> i & 1)) + f16(b, 2)
            for i, q in enumerate(nibbles(b[8:24]))]


def q8_0(b):
    return [f16(b, 0) * q for q in struct.unpack("<32b", b[2:34])]


def planes(b, bits, groups):
    """Codes of `bits` bits: runs of 32 bytes, each holding `groups` groups of 32 from low to high."""
    out = []
    for start in range(0, len(b), 32):
        for g in range(groups):
            out += [x >> bits * g & (1 << bits) - 1 for x in b[start:start + 32]]
    return out


def q2_k(b):
    d, dmin = f16(b, 80), f16(b, 82)
    return [d * (b[i // 16] & 15) * q - dmin * (b[i // 16] >> 4)
            for i, q in enumerate(planes(b[16:80], 2, 4))]


def q3_k(b):
    low, high = planes(b[32:96], 2, 4), planes(b[0:32], 1, 8)
    packed = b[96:108]
    scales = []
    for i in range(16):
        four = packed[i % 8] >> (4 if i >= 8 else 0) & 15
        scales.append((four | (packed[8 + i % 4] >> 2 * (i // 4) & 3) << 4) - 32)
    return [f16(b, 108) * scales[i // 16] * (low[i] + 4 * high[i] - 4) for i in range(256)]


def k4_scales(s):
    scale = [x & 63 for x in s[0:4]] + [s[8 + i] & 15 | s[i] >> 6 << 4 for i in range(4)]
    least = [x & 63 for x in s[4:8]] + [s[8 + i] >> 4 | s[4 + i] >> 6 << 4 for i in range(4)]
    return scale, least


def q4_k(b):
    scale, least = k4_scales(b[4:16])
    return [f16(b, 0) * scale[i // 32] * q - f16(b, 2) * least[i // 32]
            for i, q in enumerate(planes(b[16:144], 4, 2))]


def q5_k(b):
    scale, least = k4_scales(b[4:16])
    high = planes(b[16:48], 1, 8)
    return [f16(b, 0) * scale[i // 32] * (q + 16 * high[i]) - f16(b, 2) * least[i // 32]
            for i, q in enumerate(planes(b[48:176], 4, 2))]


def q6_k(b):
    low = []
    for start in (0, 64):
        low += [x & 15 for x in b[start:start + 64]] + [x >> 4 for x in b[start:start + 64]]
    high = planes(b[128:192], 2, 4)
    scales = struct.unpack("<16b", b[192:208])
    return [f16(b, 208) * scales[i // 16] * (low[i] + 16 * high[i] - 32) for i in range(256)]


def iq4_nl(b):
    return [f16(b, 0) * IQ4[q] for q in nibbles(b[2:18])]


def iq4_xs(b):
    out = []
    for j in range(8):
        low = b[4 + j // 2] >> 4 * (j % 2) & 15
        scale = low + 16 * (word(b, 2, 2) >> 2 * j & 3) - 32
        out += [f16(b, 0) * scale * IQ4[q] for q in nibbles(b[8 + 16 * j:24 + 16 * j])]
    return out


def mxfp4(b):
    return [Fraction(2) ** (b[0] - 127) * E2M1[q] for q in nibbles(b[1:17])]


def nvfp4(b):
    out = []
    for j in range(4):
        out += [e4m3(b[j] & 127) * E2M1[q] for q in nibbles(b[4 + 8 * j:12 + 8 * j])]
    return out


def int4(b):
    return [f16(b, 0) * (q - b[2]) for x in b[4:] for q in (x & 15, x >> 4)]


def fp8_b128(b):
    scale = Fraction(struct.unpack_from("<f", b, 0)[0])
    return [scale * e4m3(x) for x in b[4:]]


# codec: decoder, bytes of a block, where its f16 fields are
CODECS = {
    "q4_0": (q4_0, 18, (0,)), "q4_1": (q4_1, 20, (0, 2)), "q5_0": (q5_0, 22, (0,)),
    "q5_1": (q5_1, 24, (0, 2)), "q8_0": (q8_0, 34, (0,)), "q2_k": (q2_k, 84, (80, 82)),
    "q3_k": (q3_k, 110, (108,)), "q4_k": (q4_k, 144, (0, 2)), "q5_k": (q5_k, 176, (0, 2)),
    "q6_k": (q6_k, 210, (208,)), "iq4_nl": (iq4_nl, 18, (0,)), "iq4_xs": (iq4_xs, 136, (0,)),
    "mxfp4": (mxfp4, 17, ()), "nvfp4": (nvfp4, 36, ()), "int4_g32": (int4, 20, (0,)),
    "int4_g128": (int4, 68, (0,)), "fp8_b128": (fp8_b128, 132, ()),
    "e4m3": (lambda b: [e4m3(x) for x in b], 64, ()),
    "e5m2": (lambda b: [e5m2(x) for x in b], 64, ()),
}


def block(rng, name, size, halves):
    b = bytearray(rng.randrange(256) for _ in range(size))
    for at in halves:
        struct.pack_into("<e", b, at, rng.uniform(-2, 2))
    if name == "mxfp4":
        b[0] = rng.randrange(64, 192)
    if name == "nvfp4":
        b[0:4] = bytes(rng.randrange(127) for _ in range(4))
    if name == "fp8_b128":
        struct.pack_into("<f", b, 0, rng.uniform(-2, 2))
    if name in ("fp8_b128", "e4m3"):  # NaN has no fraction.
        for i in range(4 if name == "fp8_b128" else 0, size):
            b[i] = 0x12 if b[i] & 127 == 127 else b[i]
    if name == "e5m2":
        b = bytearray(x if x & 0x7C != 0x7C else 0x21 for x in b)
    return bytes(b)


def main():
    rng = random.Random(20)
    print("# Written by codec_blocks.py: codec, block, first half of the SHA-256 of its f32 values.")
    for name, (decode, size, halves) in CODECS.items():
        for _ in range(3):
            b = block(rng, name, size, halves)
            values = b"".join(f32_bytes(x) for x in decode(b))
            print(name, b.hex(), hashlib.sha256(values).hexdigest()[:32])


main()
