#!/usr/bin/env python3
"""An independent verifier of Tokengrid receipts: Python's standard library and Debian's python3-cryptography (Ed25519
only; SM2 is below). Shares no code with src/: written from spec/isa.md, spec/standard-token.md, RFC 6962 and C2SP's texts.

   verify_receipt.py RECEIPT --key KEY [--program FILE.tgp] [--witness KEY]... [--earlier RECEIPT]
                     [--sent FILE] [--received FILE] [--json]

A KEY is the text of a verifier key, or a file that holds one. Exit status 0 if nothing that was checked failed.

L0 signature    the log's checkpoint (or, of version 1, the receipt) is signed by KEY
L1 inclusion    the receipt is a page of that log;  continuity  its registers add up and continue those of --earlier;
   witnesses    every --witness cosigned the checkpoint
L2 arithmetic   the bill follows from the readings and the program's cost matrix. That the ledger posted it can only be
                seen in the ledger.
L3 binding      the receipt is of the bytes given. Recounting their tokens takes the model's tokenizer, not this tool.
None of them shows that the meter read honestly."""
import argparse
import base64
import datetime
import hashlib
import hmac
import json
import pathlib
import re
import struct
import sys
from fractions import Fraction

OK, FAILED, NOT_MADE = "ok", "failed", "not checked"
LEVELS = ("signature", "inclusion", "continuity", "witnesses", "arithmetic", "binding")


class Refused(Exception):
    """What was given is not a receipt, a key or a program."""


class Wrong(Exception):
    """A check failed."""


class Silent(Exception):
    """A check could not be made: the receipt does not say."""


# --- suites --------------------------------------------------------------------------------------

HASHES = {"ed25519-sha256": "sha256", "sm2-sm3": "sm3"}


def digest(suite, data):
    return hashlib.new(HASHES[suite], data).digest()


def mac(suite, key, data):
    return hmac.new(key, data, HASHES[suite]).digest()


def verify_ed25519(key, message, signature):
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
    if len(signature) != 64 or len(key) != 32:
        return False
    try:
        Ed25519PublicKey.from_public_bytes(key).verify(signature, message)
        return True
    except (InvalidSignature, ValueError):
        return False


# SM2 (GB/T 32918.2, .5): the curve y^2 = x^3 - 3x + b over a prime field, points as (X, Y, Z) with x = X/Z^2, y = Y/Z^3.
P = 0xFFFFFFFEFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFF00000000FFFFFFFFFFFFFFFF
B = 0x28E9FA9E9D9F5E344D5A9E4BCF6509A7F39789F515AB8F92DDBCBD414D940E93
N = 0xFFFFFFFEFFFFFFFFFFFFFFFFFFFFFFFF7203DF6B21C6052B53BBF40939D54123
GX = 0x32C4AE2C1F1981195F9904466A39C9948FE30BBFF2660BE1715A4589334C74C7
GY = 0xBC3736A2F4F6779C59BDCEE36B692153D0A9877CC62A474002DF32E52139F0A0
IDENTITY = b"1234567812345678"


def double(p):
    x, y, z = p
    if z == 0 or y == 0:
        return (1, 1, 0)
    slope = 3 * (x - z * z) * (x + z * z) % P
    s = 4 * x * y * y % P
    x3 = (slope * slope - 2 * s) % P
    return (x3, (slope * (s - x3) - 8 * pow(y, 4, P)) % P, 2 * y * z % P)


def add(p, q):
    if p[2] == 0:
        return q
    if q[2] == 0:
        return p
    zp, zq = p[2] * p[2] % P, q[2] * q[2] % P
    xp, xq = p[0] * zq % P, q[0] * zp % P
    yp, yq = p[1] * zq * q[2] % P, q[1] * zp * p[2] % P
    if xp == xq:
        return double(p) if yp == yq else (1, 1, 0)
    h, r = (xq - xp) % P, (yq - yp) % P
    h2 = h * h % P
    h3 = h2 * h % P
    x3 = (r * r - h3 - 2 * xp * h2) % P
    return (x3, (r * (xp * h2 - x3) - yp * h3) % P, h * p[2] * q[2] % P)


def multiply(k, p):
    out = (1, 1, 0)
    for bit in bin(k)[2:]:
        out = double(out)
        if bit == "1":
            out = add(out, p)
    return out


def verify_sm2(key, message, signature):
    if len(signature) != 64 or len(key) != 65 or key[0] != 4:
        return False
    x, y = int.from_bytes(key[1:33], "big"), int.from_bytes(key[33:], "big")
    if x >= P or y >= P or (y * y - x * x * x + 3 * x - B) % P != 0:
        return False
    word = lambda v: v.to_bytes(32, "big")
    about = struct.pack(">H", 8 * len(IDENTITY)) + IDENTITY + word(P - 3) + word(B) + word(GX) + word(GY) + key[1:]
    e = int.from_bytes(digest("sm2-sm3", digest("sm2-sm3", about) + message), "big")
    r, s = int.from_bytes(signature[:32], "big"), int.from_bytes(signature[32:], "big")
    t = (r + s) % N
    if not (0 < r < N and 0 < s < N) or t == 0:
        return False
    px, _, pz = add(multiply(s, (GX, GY, 1)), multiply(t, (x, y, 1)))
    if pz == 0:
        return False
    return (e + px * pow(pz * pz, -1, P) % P) % N == r


def verify_signature(suite, key, message, signature):
    return (verify_sm2 if suite == "sm2-sm3" else verify_ed25519)(key, message, signature)


# --- notes and keys (C2SP signed-note, tlog-cosignature) -----------------------------------------

DASH = "\u2014 ".encode()
SM2_TYPE = b"\xfftokengrid/sm2-sm3"
NAME_STOPS = b" +\n\r\t"


def unbase64(text):
    try:
        data = base64.b64decode(text, validate=True)
    except ValueError as error:
        raise Refused("not base64") from error
    if not data or base64.b64encode(data) != text:
        raise Refused("not base64 as it is written")
    return data


def is_key_name(name):
    try:
        name.decode()
    except UnicodeDecodeError:
        return False
    return len(name) > 0 and not any(c in NAME_STOPS for c in name)


class Key:
    def __init__(self, text):
        parts = text.encode().split(b"+", 2)
        if len(parts) != 3 or not is_key_name(parts[0]) or not re.fullmatch(rb"[0-9a-f]{8}", parts[1]):
            raise Refused("a verifier key is <name>+<key id>+<base64>")
        self.name, payload = parts[0], unbase64(parts[2])
        self.witness, self.suite, size, skip = False, "ed25519-sha256", 32, 1
        if payload.startswith(SM2_TYPE):
            self.suite, size, skip = "sm2-sm3", 65, len(SM2_TYPE)
        elif payload[0] == 4:
            self.witness = True
        elif payload[0] != 1:
            raise Refused(f"verifier keys of type {payload[0]} are not known")
        self.public, self.id = payload[skip:], hashlib.sha256(self.name + b"\n" + payload).digest()[:4]
        if len(self.public) != size or self.id.hex().encode() != parts[1]:
            raise Refused("the verifier key does not fit its id")

    def verifies(self, text, signature):
        if not self.witness:
            return verify_signature(self.suite, self.public, text, signature)
        if len(signature) <= 8:
            return False
        seconds = int.from_bytes(signature[:8], "big")
        return verify_ed25519(self.public, b"cosignature/v1\ntime %d\n" % seconds + text, signature[8:])


class Note:
    def __init__(self, data):
        if len(data) > 16384:
            raise Refused("the note is too long")
        try:
            data.decode()
        except UnicodeDecodeError as error:
            raise Refused("the note is not UTF-8") from error
        if any(c < 0x20 and c != 0x0A for c in data):
            raise Refused("the note has control characters")
        cut = data.rfind(b"\n\n")
        if cut < 0 or not data.endswith(b"\n") or cut + 2 == len(data):
            raise Refused("the note has no signature")
        self.text = data[:cut + 1]
        self.signatures = []
        for line in data[cut + 2:-1].split(b"\n"):
            name, space, encoded = line[len(DASH):].partition(b" ")
            if not line.startswith(DASH) or not space or not is_key_name(name):
                raise Refused("a signature line is '\u2014 <name> <base64>'")
            payload = unbase64(encoded)
            if len(payload) <= 4:
                raise Refused("a signature is empty")
            self.signatures.append((name, payload[:4], payload[4:]))
        if len(self.signatures) > 64:
            raise Refused("the note has too many signatures")

    def check(self, key):
        """Raises Wrong unless `key` signed."""
        own = [s for name, key_id, s in self.signatures if name == key.name and key_id == key.id]
        if not own:
            raise Wrong("not signed by " + key.name.decode())
        if not all(key.verifies(self.text, s) for s in own):
            raise Wrong("the signature does not match")


# --- the receipt's text --------------------------------------------------------------------------

NUMBER = r"(0|[1-9][0-9]{0,18})"
WIDE = r"(0|[1-9][0-9]{0,38})"
NAME = r"([A-Za-z0-9_.:/@-]{1,128})"
ID = r"([0-9a-f]{32})"
HASH = r"([0-9a-f]{64})"
OUTCOMES = "COMPLETED LENGTH BUDGET BUYER_ABORT SELLER_FAULT PREEMPTED EMPTY REJECTED EXPIRED".split()


def registers(key):
    return rf"{key} nominal_nst={WIDE} billed={WIDE} in={WIDE} cached={WIDE} out={WIDE}\n"


# Classes of use in their order, and the units that one price buys.
CLASSES = {"uncached_input": 10**6, "cached_input": 10**6, "cache_write": 10**6, "output": 10**6, "reasoning": 10**6,
           "residency_device": 10**12, "residency_host": 10**12, "residency_disk": 10**12, "work": 10**15}
PRICE_MAX = {name: 10**15 if name.startswith("residency") else 10**18 for name in CLASSES}
TOKENS_MAX, CHARGE_MAX = 10**9, 10**18
PRICE = rf"price from={NUMBER},{NUMBER}" + "".join(rf"(?: {name}=([1-9][0-9]{{0,18}}))?" for name in CLASSES)
PAID = rf"paid {ID} amount={NUMBER}"


def grammar_3():
    uncaptured = lambda line: re.sub(r"\((?!\?)", "(?:", line)
    bound = r"(-|hmac-(?:sha256|sm3):[0-9a-f]{64})"
    return re.compile(
        rf"tokengrid-receipt/3\nlog {NAME} suite=(ed25519-sha256|sm2-sm3)\n"
        rf"meter {NAME} device={NAME} page={NUMBER} nonce={ID}\n"
        rf"request {ID} buyer={ID} seller={ID} choice={NUMBER} kind=(generation|embedding)\n"
        rf"model {NAME} program=sha256:{HASH}\n"
        rf"tables st=1 card={NAME} version={NUMBER} unit=(nano_st|ucredit) sha256:{HASH}\n"
        rf"((?:{uncaptured(PRICE)}\n){{1,16}})time ([0-9TZ:.-]{{24}})\n" + registers("begin") + registers("end") +
        rf"reading in={NUMBER} cached={NUMBER} written={NUMBER} out={NUMBER} reasoning={NUMBER} estimated=([01]) "
        rf"flags={NUMBER}\noutcome ({'|'.join(OUTCOMES)})\n"
        rf"work nominal_nst={NUMBER} input_nst={NUMBER} output_nst={NUMBER} billable_nst={NUMBER} actual_nst={NUMBER}\n"
        rf"timing steps={NUMBER} device_us={NUMBER} queue_us={NUMBER} ttft_us={NUMBER} total_us={NUMBER}\n"
        rf"hold {ID} mode={NAME} max_cost={NUMBER} authorised={NUMBER} slices={NUMBER}\n"
        rf"billed {NUMBER}\n((?:{uncaptured(PAID)}\n){{0,64}})"
        rf"bind in={bound} bytes={NUMBER} out={bound} bytes={NUMBER}\n")


def grammar(version):
    bound = r"(-|hmac-(?:sha256|sm3):[0-9a-f]{64})"
    head = rf"log {NAME}\nmeter {NAME} device={NAME}\n"
    if version == 2:
        head = (rf"log {NAME} suite=(ed25519-sha256|sm2-sm3)\n"
                rf"meter {NAME} device={NAME} page={NUMBER} nonce={ID}\n")
    return re.compile(
        rf"tokengrid-receipt/{version}\n" + head +
        rf"request {ID} buyer={ID} seller={ID}\nmodel {NAME} program=sha256:{HASH}\n"
        rf"tables st=1 tariff={NAME} ppm={NUMBER}\ntime ([0-9TZ:.-]{{24}})\n" +
        (registers("begin") + registers("end") if version == 2 else "") +
        rf"reading in={NUMBER} cached={NUMBER} out=([0-9,]+)\noutcome ({'|'.join(OUTCOMES)})\n"
        rf"work nominal_nst={NUMBER} input_nst={NUMBER} output_nst={NUMBER} billable_nst={NUMBER} actual_nst={NUMBER}\n"
        rf"timing steps={NUMBER} device_us={NUMBER} queue_us={NUMBER} ttft_us={NUMBER} total_us={NUMBER}\n"
        rf"hold {ID} amount={NUMBER}\nbilled {NUMBER} post={ID}\n" +
        (rf"bind in={bound} bytes={NUMBER} out={bound} bytes={NUMBER}\n" if version == 2 else ""))


FIELDS_1 = ("log meter device request buyer seller model program tariff ppm time prompt cached out outcome nominal input "
            "output billable actual steps device_us queue_us ttft_us total_us hold held billed post").split()
FIELDS_2 = ("log suite meter device page nonce request buyer seller model program tariff ppm time b0 b1 b2 b3 b4 e0 e1 e2 e3 "
            "e4 prompt cached out outcome nominal input output billable actual steps device_us queue_us ttft_us total_us hold "
            "held billed post bind_in bytes_in bind_out bytes_out").split()
FIELDS_3 = ("log suite meter device page nonce request buyer seller choice kind model program card version_of_card unit card_hash "
            "prices time b0 b1 b2 b3 b4 e0 e1 e2 e3 e4 prompt cached written out reasoning estimated flags outcome nominal input "
            "output billable actual steps device_us queue_us ttft_us total_us hold mode max_cost held slices billed paid bind_in "
            "bytes_in bind_out bytes_out").split()
COUNTS = ("choice version_of_card written reasoning flags max_cost slices page ppm prompt cached nominal input output billable actual steps device_us queue_us ttft_us total_us held billed "
          "bytes_in bytes_out").split()
GRAMMARS = {1: (grammar(1), FIELDS_1), 2: (grammar(2), FIELDS_2), 3: (grammar_3(), FIELDS_3)}


def check_time(text):
    try:
        when = datetime.datetime.strptime(text, "%Y-%m-%dT%H:%M:%S.%fZ")
    except ValueError as error:
        raise Refused("no time " + text) from error
    if when.strftime("%Y-%m-%dT%H:%M:%S.") + "%03dZ" % (when.microsecond // 1000) != text:
        raise Refused("no time " + text)
    since = when - datetime.datetime(1970, 1, 1)
    if not 0 <= since // datetime.timedelta(microseconds=1) * 1000 < 2**63:
        raise Refused("no time " + text)


def parse_receipt(data, version):
    if len(data) > 16384:
        raise Refused("the receipt is too long")
    pattern, names = GRAMMARS[version]
    match = pattern.fullmatch(data.decode("latin-1"))
    if not match:
        raise Refused("the receipt is not in its canonical form")
    r = dict(zip(names, match.groups()))
    for field in COUNTS:
        if field in r:
            r[field] = int(r[field])
            if r[field] >= 2**63:
                raise Refused(f"{field} is too large")
    outputs = r["out"].split(",")
    if len(outputs) > 128 or not all(re.fullmatch(NUMBER, o) for o in outputs):
        raise Refused("the outputs are not numbers")
    r["outputs"] = [int(o) for o in outputs]
    if sum(r["outputs"]) >= 2**63:
        raise Refused("the outputs are too large")
    check_time(r["time"])
    r["version"] = version
    r.setdefault("suite", "ed25519-sha256")
    r["kind"] = r.get("kind", "generation")
    if version == 3:
        parse_bill(r)
    if version > 1:
        r["begin"], r["end"] = ([int(r[side + str(i)]) for i in range(5)] for side in "be")
        if max(r["begin"] + r["end"]) >= 2**128:
            raise Refused("a register is too large")
        for side in ("bind_in", "bind_out"):
            if r[side] != "-" and not r[side].startswith(f"hmac-{HASHES[r['suite']]}:"):
                raise Refused("the binding is of another suite")
    return r


def parse_bill(r):
    """Prices and payments of version 3."""
    segments, last = [], (0, 0)
    for line in r["prices"].splitlines():
        values = re.fullmatch(PRICE, line).groups()
        start = int(values[0]), int(values[1])
        prices = {name: int(v or 0) for name, v in zip(CLASSES, values[2:])}
        if max(start) >= 2**63 or start[0] < last[0] or start[1] < last[1] or (not segments and start != (0, 0)):
            raise Refused("a price does not follow the one before it")
        if any(prices[name] > PRICE_MAX[name] for name in CLASSES):
            raise Refused("a price is too large")
        segments.append((start, prices))
        last = start
    r["segments"] = segments
    r["payments"] = [int(re.fullmatch(PAID, line).group(2)) for line in r["paid"].splitlines()]
    if max(r["payments"], default=0) >= 2**63:
        raise Refused("a payment is too large")
    if r["flags"] >= 2**32 or r["reasoning"] > r["outputs"][0] or r["cached"] + r["written"] > r["prompt"]:
        raise Refused("impossible readings")


# --- the file ------------------------------------------------------------------------------------

PROOF_START = b"\n\nc2sp.org/tlog-proof@"


def parse_size(text):
    if not re.fullmatch(rb"0|[1-9][0-9]{0,17}", text) or int(text) > 2**56:
        raise Refused("not a size or index")
    return int(text)


def parse_hash(text):
    data = unbase64(text)
    if len(data) != 32:
        raise Refused("a hash has 32 bytes")
    return data


class Receipt:
    """The file as a buyer has it."""

    def __init__(self, data):
        if len(data) > 32768:
            raise Refused("the file is too long")
        if data.startswith(b"tokengrid-receipt/1\n"):
            self.note = Note(data)
            if len(self.note.signatures) != 1:
                raise Refused("version 1 has one signature")
            self.text, self.fields = self.note.text, parse_receipt(self.note.text, 1)
            return
        cut = data.find(PROOF_START)
        if cut < 0:
            raise Refused("no proof follows the receipt")
        version = 3 if data.startswith(b"tokengrid-receipt/3\n") else 2
        self.text, self.fields = data[:cut + 1], parse_receipt(data[:cut + 1], version)
        self.read_proof(data[cut + 2:])

    def read_proof(self, data):
        head, blank, note = data.partition(b"\n\n")
        lines = head.split(b"\n")
        if not blank or lines[0] != b"c2sp.org/tlog-proof@v1" or len(lines) < 3:
            raise Refused("not a proof")
        if not lines[1].startswith(b"extra ") or not lines[2].startswith(b"index "):
            raise Refused("the proof has no salt or no index")
        self.salt, self.index = unbase64(lines[1][6:]), parse_size(lines[2][6:])
        if len(self.salt) != 32:
            raise Refused("a salt has 32 bytes")
        if len(lines) > 3 + 64:
            raise Refused("the path is too long")
        self.path = [parse_hash(line) for line in lines[3:]]
        self.note = Note(note)

    def checkpoint(self):
        lines = self.note.text.split(b"\n")
        if len(lines) != 4 or lines[3] or not lines[0] or any(c in NAME_STOPS for c in lines[0]):
            raise Wrong("the note is no checkpoint")
        try:
            return lines[0], parse_size(lines[1]), parse_hash(lines[2])
        except Refused as error:
            raise Wrong(str(error)) from error


# --- checks --------------------------------------------------------------------------------------

def check_signature(receipt, key):
    r = receipt.fields
    if key.witness:
        raise Wrong("the key is a witness's")
    if key.suite != r["suite"]:
        raise Wrong("the key is of another suite")
    receipt.note.check(key)
    if r["meter"].encode() != key.name:
        raise Wrong("the receipt names another meter")


def root_of(suite, leaf, index, size, path):
    """RFC 6962 §2.1.1, read from the root downwards."""
    if size == 1:
        if path:
            raise Wrong("the path is too long")
        return leaf
    if not path:
        raise Wrong("the path is too short")
    half = 1 << (size - 1).bit_length() - 1
    if index < half:
        left, right = root_of(suite, leaf, index, half, path[:-1]), path[-1]
    else:
        left, right = path[-1], root_of(suite, leaf, index - half, size - half, path[:-1])
    return digest(suite, b"\x01" + left + right)


def check_inclusion(receipt):
    r, suite = receipt.fields, receipt.fields["suite"]
    origin, size, root = receipt.checkpoint()
    if origin.decode() != r["log"] + "/" + r["meter"]:
        raise Wrong("the checkpoint is of another log")
    if mac(suite, receipt.salt, b"tokengrid nonce")[:16].hex() != r["nonce"]:
        raise Wrong("the salt is not this receipt's")
    entry = (f"tokengrid-page/1\nmeter {r['meter']} page {r['page']}\n"
             f"receipt {HASHES[suite]}:{digest(suite, receipt.text).hex()}\n").encode()
    if receipt.index >= size:
        raise Wrong("the entry is beyond the checkpoint")
    if root_of(suite, digest(suite, b"\x00" + entry), receipt.index, size, receipt.path) != root:
        raise Wrong("the path does not lead to the root")


def check_continuity(receipt, earlier):
    r = receipt.fields
    if r["page"] == 0:
        raise Wrong("pages count from 1")
    tokens = 0 if r["kind"] == "embedding" else sum(r["outputs"])
    amounts = [r["nominal"], r["billed"], r["prompt"], r["cached"], tokens]
    if r["end"] != [b + a for b, a in zip(r["begin"], amounts)]:
        raise Wrong("the registers do not add up")
    if r["page"] == 1 and any(r["begin"]):
        raise Wrong("page 1 does not begin at zero")
    if earlier is None:
        return
    e = earlier.fields
    if e["version"] == 1 or (e["log"], e["meter"]) != (r["log"], r["meter"]) or e["page"] >= r["page"]:
        raise Wrong("the other receipt is no earlier page of this meter")
    if e["page"] + 1 == r["page"] and e["end"] != r["begin"]:
        raise Wrong("the registers do not continue the earlier page")
    if any(a > b for a, b in zip(e["end"], r["begin"])):
        raise Wrong("a register shrank")


def check_witnesses(receipt, witnesses):
    for key in witnesses:
        if not key.witness:
            raise Wrong(key.name.decode() + " is no witness")
        receipt.note.check(key)


def check_binding(receipt, sent, received):
    r, suite = receipt.fields, receipt.fields["suite"]
    unbound = None
    for data, side, label in ((sent, "in", b"in:"), (received, "out", b"out:")):
        if data is None:
            continue
        if r["bind_" + side] == "-":
            unbound = unbound or side
            continue
        bound = mac(suite, receipt.salt, label + digest(suite, data)).hex()
        if r["bytes_" + side] != len(data) or r["bind_" + side].rpartition(":")[2] != bound:
            raise Wrong(f"the receipt binds other bytes ({side})")
    if unbound:
        raise Silent(f"the receipt binds no bytes ({unbound})")


# --- the standard token (spec/standard-token.md) -------------------------------------------------

BYTE = 1266722652
WEIGHTS = [25334453, 6333613, 3166807, 3166807, 3166807, 6333613, 0, BYTE, BYTE, BYTE, BYTE, 0, 0, 0, 0, 0]
PREFILL, DECODE = 2048, 32
CAUSAL, FULL, SELECTED, TREE, DENSE = range(5)


class Program:
    """Identity and main's cost matrix of a .tgp file (spec/isa.md, sections 5 and 8)."""

    def __init__(self, data):
        if len(data) < 32 or data[:4] != b"TGP1" or len(data) % 8:
            raise Refused("not a program")
        self.words = struct.unpack(f"<{len(data) // 4}I", data)
        critical, at, cost = b"", 8, None
        while at < len(self.words):
            if at + 2 > len(self.words):
                raise Refused("a section is cut")
            section, count = self.words[at], self.words[at + 1]
            end = at + 2 + count + count % 2
            if end > len(self.words):
                raise Refused("a section is cut")
            if section >> 31:
                critical += data[4 * at:4 * end]
            if section & 0x7FFFFFFF == 8:
                cost = at + 2
            at = end
        if cost is None:
            raise Refused("the program has no cost")
        self.id = hashlib.sha256(critical).hexdigest()
        self.read_cost(cost)

    def wide(self, at):
        return self.words[at] | self.words[at + 1] << 32

    def read_cost(self, at):
        entries, windows, experts = self.words[at:at + 3]
        at += 3
        self.columns, self.head = [[0] * 16 for _ in range(4)], 0
        for _ in range(entries):
            group, value = self.words[at] >> 8, self.wide(at + 1)
            if group == 4:
                self.head = value
            else:
                self.columns[group][self.words[at] & 0xFF] = value
            at += 3
        self.windows = []
        for _ in range(windows):
            word = self.words[at]
            self.windows.append((word & 0x0FFFFFFF, word >> 28, self.wide(at + 1), self.wide(at + 5)))
            at += 7
        self.experts = []
        for _ in range(experts):
            self.experts.append((*self.words[at:at + 3], self.wide(at + 3)))
            at += 5


def half_even(value):
    floor, rest = divmod(value, 1)
    return int(floor) + (1 if rest > Fraction(1, 2) or (rest == Fraction(1, 2) and floor % 2) else 0)


def attended(window, c, n):
    if window == 0:
        return n * c + n * (n + 1) // 2
    m = min(max(window - c, 0), n)
    return m * c + m * (m + 1) // 2 + (n - m) * window


def pairs_and_keys(window, kind, c, n):
    if kind == FULL:
        return n * (c + n), c + n
    if kind == TREE:
        return attended(0, c, n), c + n
    if kind == DENSE:
        upto = lambda k: k * k if window == 0 else 2 * attended(window, 0, k) - k
        return upto(c + n) - upto(c), 0
    pairs = attended(window, c, n)
    if kind == SELECTED:
        return pairs, min(c + n, pairs)
    return pairs, c + n if window == 0 else min(c + n, n + window - 1)


def weigh(column):
    return sum(count * weight for count, weight in zip(column, WEIGHTS))


def weight_bytes(program, share):
    """What one token bears of a pass over `share` tokens: the body's bytes, and the experts' expected to be hit."""
    total = Fraction(weigh(program.columns[0]))
    for count, active, layers, size in program.experts:
        hit = Fraction(half_even(count * (1 - Fraction(count - active, count)**share) * 2**20), 2**20)
        total += hit * layers * size * BYTE
    return total / share


def prefill_work(program, prompt, cached, has_row=True):
    tokens = prompt - cached
    if tokens == 0:
        return Fraction(0)
    _, token, row, sequence = program.columns
    total = tokens * (weigh(token) + weight_bytes(program, PREFILL))
    if has_row:
        total += weigh(row) + Fraction(program.head * BYTE, PREFILL)
    for c in range(cached, prompt, PREFILL):
        n = min(PREFILL, prompt - c)
        total += weigh(sequence)
        for window, kind, flops, size in program.windows:
            pairs, keys = pairs_and_keys(window, kind, c, n)
            total += pairs * flops * WEIGHTS[5] + keys * size * BYTE
    return total


def decode_work(program, prompt, output):
    passes = max(output - 1, 0)
    _, token, row, sequence = program.columns
    each = weigh(token) + weigh(row) + weigh(sequence) + weight_bytes(program, DECODE) + Fraction(program.head * BYTE, DECODE)
    total = passes * each
    for window, kind, flops, size in program.windows:
        # Single-token passes see min(c+1, window) keys; what follows is their sum, c from prompt on.
        seen = attended(0 if kind in (FULL, TREE) else window, prompt, passes)
        pairs, keys = (2 * seen - passes, 0) if kind == DENSE else (seen, seen)
        total += pairs * flops * WEIGHTS[5] + keys * size * BYTE
    return total


def nominal(program, prompt, cached, outputs, kind="generation"):
    if cached > prompt or max([prompt] + outputs) > 2**32:
        raise Wrong("impossible readings")
    if program is None:
        return 0, 0, 0
    prefill = prefill_work(program, prompt, cached, kind != "embedding")
    if kind == "embedding":
        outputs = []
    total = prefill + sum(decode_work(program, prompt, o) for o in outputs)
    whole, part = half_even(total / 10**9), half_even(prefill / 10**9)
    return whole, part, whole - part


def charge_of(r, program):
    """Use times price over all classes and price changes, exact, floored once."""
    output = r["outputs"][0] - r["reasoning"]
    if r["outputs"][0] == 0 or r["outcome"] in ("EMPTY", "REJECTED", "EXPIRED"):
        return 0
    whole = r["outcome"] != "SELLER_FAULT"
    total, before, segments = Fraction(0), dict.fromkeys(CLASSES, 0), r["segments"]
    for i, (_, prices) in enumerate(segments):
        end = segments[i + 1][0] if i + 1 < len(segments) else (output, r["reasoning"])
        out, thought = min(output, end[0]), min(r["reasoning"], end[1])
        work = nominal(program, r["prompt"], r["cached"], [out + thought], r["kind"])
        use = dict.fromkeys(CLASSES, 0)
        use["work"] = work[0] if whole else work[2]
        if r["kind"] != "embedding":
            use["output"], use["reasoning"] = out, thought
        if whole:
            use["uncached_input"] = r["prompt"] - r["cached"] - r["written"]
            use["cached_input"], use["cache_write"] = r["cached"], r["written"]
        if max(use[name] for name in list(CLASSES)[:5]) > TOKENS_MAX:
            raise Wrong("more tokens than can be rated")
        if any(use[name] < before[name] for name in CLASSES):
            raise Wrong("a register of use ran backwards")
        total += sum((use[name] - before[name]) * Fraction(prices[name], CLASSES[name]) for name in CLASSES)
        if total >= CHARGE_MAX + 1:
            raise Wrong("more than can be charged")
        before = use
    return int(total)


def check_bill(r, program):
    if r["billed"] != min(charge_of(r, program), r["held"]):
        raise Wrong("billed is not use times price, within what was authorised")
    if r["billed"] != sum(r["payments"]):
        raise Wrong("the payments are not the bill")
    if r["held"] > r["max_cost"]:
        raise Wrong("more was authorised than max_cost")


def check_arithmetic(r, program):
    total, prefill, decode = nominal(program, r["prompt"], r["cached"], r["outputs"], r["kind"])
    billable = 0
    if sum(r["outputs"]) > 0:
        billable = {"SELLER_FAULT": decode, "EMPTY": 0, "REJECTED": 0, "EXPIRED": 0}.get(r["outcome"], total)
    stated = (r["nominal"], r["input"], r["output"], r["billable"])
    if stated != (total, prefill, decode, billable):
        raise Wrong(f"work is {(total, prefill, decode, billable)}, stated {stated}")
    if r["version"] == 3:
        return check_bill(r, program)
    if r["billed"] != min(billable * r["ppm"] // 1000000, r["held"]):
        raise Wrong("billed is not billable times the factor, within the hold")
    if (r["billed"] == 0) != (int(r["post"], 16) == 0):
        raise Wrong("a post for nothing, or nothing for a bill")


# --- all of it -----------------------------------------------------------------------------------

def made(check, *arguments):
    try:
        check(*arguments)
        return OK, ""
    except Wrong as error:
        return FAILED, str(error)
    except Silent as error:
        return NOT_MADE, str(error)


def verify(receipt, key=None, witnesses=(), earlier=None, program=None, sent=None, received=None):
    """The result and why, by level's name."""
    out = {level: (NOT_MADE, "nothing given to check it with") for level in LEVELS}
    r = receipt.fields
    if key:
        out["signature"] = made(check_signature, receipt, key)
    if r["program"] == "0" * 64:  # nobody's: no work is stated
        out["arithmetic"] = made(check_arithmetic, r, None)
    elif program and program.id != r["program"]:
        out["arithmetic"] = FAILED, "the program is another"
    elif program:
        out["arithmetic"] = made(check_arithmetic, r, program)
    if r["version"] == 1:
        for level in ("inclusion", "continuity", "witnesses", "binding"):
            out[level] = NOT_MADE, "version 1 receipts are signed one by one, in no log"
        return out
    out["inclusion"] = made(check_inclusion, receipt)
    out["continuity"] = made(check_continuity, receipt, earlier)
    if witnesses:
        out["witnesses"] = made(check_witnesses, receipt, witnesses)
    if sent is not None or received is not None:
        out["binding"] = made(check_binding, receipt, sent, received)
    return out


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("receipt")
    parser.add_argument("--key")
    parser.add_argument("--program")
    parser.add_argument("--witness", action="append", default=[])
    parser.add_argument("--earlier")
    parser.add_argument("--sent")
    parser.add_argument("--received")
    parser.add_argument("--json", action="store_true")
    o = parser.parse_args()
    read = lambda path: pathlib.Path(path).read_bytes() if path else None
    load_key = lambda k: Key(pathlib.Path(k).read_text().strip() if pathlib.Path(k).is_file() else k)
    try:
        results = verify(Receipt(read(o.receipt)), load_key(o.key) if o.key else None, [load_key(w) for w in o.witness],
                         Receipt(read(o.earlier)) if o.earlier else None,
                         Program(read(o.program)) if o.program else None, read(o.sent), read(o.received))
    except (Refused, OSError) as error:
        sys.exit(f"verify_receipt: {error}")
    if o.json:
        print(json.dumps({level: result if result == OK else f"{result}: {why}" for level, (result, why) in results.items()}))
    else:
        for level, (result, why) in results.items():
            print(f"{level:<11} {result}{': ' + why if why else ''}")
        print("None of this shows that the meter read honestly.")
    sys.exit(1 if any(result == FAILED for result, _ in results.values()) else 0)


if __name__ == "__main__":
    main()
