#!/usr/bin/env python3
"""I-25: the library and tools/verify_receipt.py agree on every receipt, level by level: on good ones, on ones that are wrong
below their signature, and on thousands that were changed in every way a text can be. Environment: RECEIPT_TOOL, the
library's half; SEED and MUTANTS to look further. A disagreement prints the file that shows it."""
import os
import pathlib
import random
import re
import subprocess
import sys
import tempfile

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2] / "tools"))
import verify_receipt as v

TOOL = os.environ["RECEIPT_TOOL"]
SEED = int(os.environ.get("SEED", "1"))
MUTANTS = {"ed25519-sha256": int(os.environ.get("MUTANTS", "3000")), "sm2-sm3": int(os.environ.get("MUTANTS", "3000")) // 10}


def by_library(folder, files):
    lines = subprocess.run([TOOL, "check", str(folder)], input="\n".join(map(str, files)) + "\n", text=True,
                           capture_output=True, check=True).stdout.split("\n")[:-1]
    assert len(lines) == len(files), "the library did not answer for every file"
    return lines


def by_python(folder, data):
    read = lambda name: (folder / name).read_text()
    try:
        receipt = v.Receipt(data)
    except v.Refused as error:
        return f"refused: {error}"
    results = v.verify(receipt, v.Key(read("key")), [v.Key(read("witness"))], v.Receipt((folder / "good-03").read_bytes()),
                       v.Program((folder / "program.tgp").read_bytes()), b"sent 4", b"received 4")
    return ",".join(results[level][0] for level in v.LEVELS)


def mutate(rng, data, others):
    """A change that a liar, a bad disk or a sloppy forwarder might make."""
    def flip(d):
        at = rng.randrange(len(d))
        return d[:at] + bytes([d[at] ^ 1 << rng.randrange(8)]) + d[at + 1:]

    def cut(d):
        at = rng.randrange(len(d))
        return d[:at] + d[at + rng.randint(1, 8):]

    def insert(d):
        at = rng.randrange(len(d) + 1)
        return d[:at] + rng.choice([b"0", b" ", b"\n", b"=", b"+", b"9", b"\r", b"\xe2\x80\x94 ", b"A"]) + d[at:]

    def number(d):
        found = list(re.finditer(rb"[=, ][0-9]+", d))
        m = rng.choice(found)
        value = int(m.group()[1:])
        new = rng.choice([value + 1, max(0, value - 1), 0, 1, 2**63 - 1, 2**63, 2**128, value * 10, rng.randrange(10**6)])
        return d[:m.start() + 1] + str(new).encode() + d[m.end():]

    def lines(d):
        parts = d.split(b"\n")
        i, j = rng.randrange(len(parts)), rng.randrange(len(parts))
        what = rng.randrange(3)
        if what == 0:
            parts[i], parts[j] = parts[j], parts[i]
        elif what == 1:
            parts.insert(i, parts[j])
        else:
            del parts[i]
        return b"\n".join(parts)

    def splice(d):
        """A line of another receipt in the place of this one's: its hashes, its salt, its figures."""
        other, parts = rng.choice(others).split(b"\n"), d.split(b"\n")
        i = rng.randrange(len(parts))
        parts[i] = other[min(i, len(other) - 1)]
        return b"\n".join(parts)

    def halves(d):
        other, mark = rng.choice(others), b"\n\nc2sp.org"
        return d[:d.find(mark)] + other[other.find(mark):] if mark in d and mark in other else flip(d)

    def unbind(d):
        return re.sub(rb"(in|out)=hmac-[a-z0-9]+:[0-9a-f]+", lambda m: m.group(1) + b"=-", d, count=rng.choice([1, 2]))

    def word(d):
        found = list(re.finditer(rb"[A-Za-z][A-Za-z0-9_.-]*", d))
        m = rng.choice(found)
        return d[:m.start()] + rng.choice(found).group() + d[m.end():]

    for _ in range(rng.choice([1, 1, 1, 2])):
        data = rng.choice([flip, flip, cut, insert, number, number, lines, splice, halves, word, unbind])(data)
    return data


def compare(folder, files):
    """The answers of both, after making sure that they are the same."""
    library = by_library(folder, files)
    for file, theirs in zip(files, library):
        ours = by_python(folder, file.read_bytes())
        same = theirs.startswith("refused") and ours.startswith("refused") or theirs == ours
        if not same:
            kept = pathlib.Path(tempfile.gettempdir()) / "receipt_disagreement"
            kept.write_bytes(file.read_bytes())
            sys.exit(f"{file.name}: the library says '{theirs}', Python says '{ours}'; kept as {kept}, seed {SEED}")
    return library


def run(suite, root):
    folder = root / suite
    good = sorted(folder.glob("good-*"))
    spoilt = sorted(folder.glob("spoilt-*"))
    answers = dict(zip(good, compare(folder, good)))
    for file, answer in answers.items():
        levels = dict(zip(v.LEVELS, answer.split(",")))
        assert levels["signature"] == levels["arithmetic"] == "ok", (file.name, answer)
        assert "old" in file.name or levels["inclusion"] == "ok", (file.name, answer)
    assert answers[folder / "good-04"] == "ok,ok,ok,ok,ok,ok", "the one that all evidence fits"
    # Not every spoilt figure shows: a hold that was not reached may be larger.
    found = [a for a in compare(folder, spoilt) if a.split(",")[4] == "failed"]
    assert len(found) >= len(spoilt) - 4, "arithmetic of spoilt receipts"

    rng = random.Random(SEED)
    texts = [file.read_bytes() for file in good + spoilt]
    mutants = []
    (folder / "mutants").mkdir()
    for i in range(MUTANTS[suite]):
        text = rng.choice(texts)
        changed = mutate(rng, text, texts)
        if changed == text:
            continue
        mutants.append(folder / "mutants" / str(i))
        mutants[-1].write_bytes(changed)
    answers = compare(folder, mutants)
    parsed = [a for a in answers if not a.startswith("refused")]
    # A changed line of an unknown key aside, nothing that was changed passes all that it passed.
    passed = [a for a in parsed if a == "ok,ok,ok,ok,ok,ok"]
    assert not passed, f"{len(passed)} mutants pass every level"
    assert len(parsed) > len(mutants) // 50, "mutants reach the levels"
    print(f"{suite}: {len(good)} good, {len(spoilt)} spoilt, {len(mutants)} changed, of which {len(parsed)} still parse: "
          "both verifiers agree on every level")


def main():
    try:
        import cryptography  # noqa: F401
    except ImportError:
        print("skipped: python3-cryptography is not installed")
        sys.exit(77)
    with tempfile.TemporaryDirectory() as root:
        subprocess.run([TOOL, "make", root], check=True)
        for suite in v.HASHES:
            run(suite, pathlib.Path(root))


if __name__ == "__main__":
    main()
