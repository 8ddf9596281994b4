#!/usr/bin/env python3
"""Lines of each GPU port and of each op in it, as PORTING.md prints them between "generated" marks.
   port_lines.py           prints the tables
   port_lines.py --write   puts them into PORTING.md
   port_lines.py --check   exit status 1 if PORTING.md has others
A line counts if something is left of it without comments and blanks."""
import pathlib
import re
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
BACKEND = ROOT / "src/backend"
BEGIN, END = "<!-- generated: port lines -->", "<!-- end -->"

# op: functions of the lowering, kernels
OPS = {
    "embed": (["embed"], ["tg_embed"]),
    "gather, view, concat, cast": (["copy", "gather", "view", "concat", "cast"], ["tg_copy"]),
    "linear, grouped_linear, bmm": (["product", "linear", "grouped_linear", "bmm"],
                                    ["tg_linear_few", "tg_linear_tile", "tg_bmm", "tg_bmm_transposed"]),
    "xq": (["quantized"], ["tg_quantize"]),
    "rmsnorm": (["rms_norm"], ["tg_rms_norm"]),
    "layernorm": (["layer_norm"], ["tg_layer_norm"]),
    "add, mul": (["binary"], ["tg_binary"]),
    "glu": (["glu"], ["tg_glu"]),
    "act": ([], ["tg_act"]),
    "ew": (["ew"], ["tg_ew"]),
    "reduce": (["reduce"], ["tg_reduce"]),
    "rope": (["rope"], ["tg_rope_table", "tg_rope"]),
    "kv_append": (["kv_append"], ["tg_kv_append"]),
    "attn": (["attention"], ["tg_attention", "tg_attention_join"]),
    "route": (["route"], ["tg_route", "tg_order"]),
    "combine": (["combine"], ["tg_combine"]),
    "logits": (["logits"], ["tg_logits"]),
    "sample": (["sample"], ["tg_sample"]),
    "permute": (["permute"], ["tg_permute"]),
}


def code_lines(text):
    text = re.sub(r"/\*.*?\*/", lambda m: "\n" * m.group().count("\n"), text, flags=re.S)
    lines = (re.sub(r"(//|#(?!\w)).*", "", line).strip() for line in text.splitlines())
    return sum(1 for line in lines if line)


def lines_of(folder, *patterns, without=("_test.", "fake_")):
    files = [p for pattern in patterns for p in (BACKEND / folder).glob(pattern)]
    return sum(code_lines(p.read_text()) for p in files if not any(w in p.name for w in without))


def body(text, start):
    """From the line that begins with `start` to the first line that is a closing brace alone."""
    at = re.search(start, text, flags=re.M)
    if not at:
        return ""
    return text[at.start():text.index("\n}\n", at.start()) + 2]


def table():
    ports = [
        ("shared host code (gpu)", lines_of("gpu", "*.h", "*.cc")),
        ("shared kernels (gpu/kernels)", lines_of("gpu/kernels", "*.cl")),
        ("opencl, all of it", lines_of("opencl", "*.h", "*.cc")),
        ("cuda, host code", lines_of("cuda", "*.h", "*.cc")),
        ("cuda, kernels of its own", lines_of("cuda/kernels", "*.h", "*.cu")),
        ("skeleton in C (kit)", lines_of("kit", "skeleton.c", "vendor_kernels.*")),
    ]
    out = ["| part | lines |", "|---|---|"]
    out += [f"| {name} | {n} |" for name, n in ports]
    host = "".join((BACKEND / "gpu" / f).read_text() for f in ("lowering.cc", "lowering_products.cc"))
    kernels = "".join(p.read_text() for p in sorted((BACKEND / "gpu/kernels").glob("*.cl")))
    out += ["", "| op | host | kernels |", "|---|---|---|"]
    for op, (functions, names) in OPS.items():
        a = sum(code_lines(body(host, rf"^\w+ Lowering::{f}\(")) for f in functions)
        b = sum(code_lines(body(kernels, rf"^KERNEL\({k}\)")) for k in names)
        if a + b:
            out.append(f"| {op} | {a} | {b} |")
    return "\n".join(out)


def main():
    path = ROOT / "PORTING.md"
    text = path.read_text()
    head, rest = text.split(BEGIN)
    tail = rest.split(END, 1)[1]
    wanted = f"{head}{BEGIN}\n{table()}\n{END}{tail}"
    if "--write" in sys.argv:
        path.write_text(wanted)
    elif "--check" in sys.argv:
        if text != wanted:
            sys.exit("PORTING.md: its line counts are not the tree's (python3 tools/port_lines.py --write)")
    else:
        print(table())


if __name__ == "__main__":
    main()
