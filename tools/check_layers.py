#!/usr/bin/env python3
"""House rules that a compiler does not see, over src/, apps/ and test/:
   - every #include of a src/ header is allowed by LAYERS (a violation names file and line);
   - the folder graph of LAYERS has no cycle and no folder named common, core, utils or misc;
   - decision code takes time, randomness and the environment as arguments (STYLE.md);
   - every folder of src/ has a README.md; lines stay within 100 columns; no unfinished marks.
   Exit status 1 if anything is found."""
import pathlib
import re
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
SRC = ROOT / "src"
INCLUDE = re.compile(r'^\s*#\s*include\s+"([a-z_]+)/')
DECISION_FOLDERS = {"engine", "dispatch", "ledger", "market", "fleet"}
BANNED = re.compile(r"\b(system_clock|steady_clock|std::rand|srand|random_device|getenv)\b")
MARKS = re.compile(r"\b(TODO|FIXME|XXX)\b(?!\(#\d+\))")
COLUMNS_MAX = 100


def read_layers():
    layers = {}
    for number, line in enumerate((ROOT / "LAYERS").read_text().splitlines(), 1):
        line = line.split("#", 1)[0].strip()
        if not line:
            continue
        folder, _, below = line.partition(":")
        for name in below.split():
            if name not in layers:
                report(f"LAYERS:{number}: {folder} names {name}, which is not listed above it")
        if folder in {"common", "core", "utils", "misc"}:
            report(f"LAYERS:{number}: folder name {folder} says nothing")
        layers[folder] = set(below.split()) | {folder}
    return layers


errors = []


def report(text):
    errors.append(text)


def check_file(path, layers):
    relative = path.relative_to(ROOT)
    folder = relative.parts[1] if relative.parts[0] == "src" else None
    is_test = path.stem.endswith(("_test", "_fuzz", "_bench"))
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        where = f"{relative}:{number}"
        match = INCLUDE.match(line)
        if match and folder and match.group(1) in layers and match.group(1) not in layers[folder]:
            report(f"{where}: {folder} may not include {match.group(1)} (LAYERS)")
        if len(line) > COLUMNS_MAX and "http" not in line:
            report(f"{where}: {len(line)} columns, the limit is {COLUMNS_MAX}")
        if MARKS.search(line):
            report(f"{where}: unfinished mark without an issue number")
        if folder in DECISION_FOLDERS and not is_test and BANNED.search(line):
            report(f"{where}: decision code takes time, randomness and environment as arguments")


def main():
    layers = read_layers()
    for folder in sorted(p for p in SRC.iterdir() if p.is_dir()):
        if folder.name not in layers:
            report(f"src/{folder.name}: not listed in LAYERS")
        if not (folder / "README.md").exists():
            report(f"src/{folder.name}: has no README.md")
    for top in ("src", "apps", "test"):
        for path in sorted((ROOT / top).rglob("*")):
            if path.suffix in {".h", ".cc"} and "node_modules" not in path.parts:
                check_file(path, layers)
    for error in errors:
        print(error)
    print(f"tidy: {len(errors)} findings")
    return 1 if errors else 0


if __name__ == "__main__":
    sys.exit(main())
