#!/usr/bin/env python3
"""Lines of each GPU port and of each op in it, as PORTING.md prints them between "generated" marks.
   port_lines.py           prints the tables
   port_lines.py --write   puts them into PORTING.md
   port_lines.py --check   exit status 1 if PORTING.md has others; the CPU's may be those of the last --write,
                           as whoever works on its kernels need not think of ports
A line counts if something is left of it without comments and blanks."""
import pathlib
import re
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
BACKEND = ROOT / "src/backend"
BEGIN, END = "<!-- generated: port lines -->", "<!-- end -->"

# op: functions of the lowering; shared kernels; files of CUDA's own; the CPU's functions, files of its kernels
OPS = {
    "embed": (["embed"], ["tg_embed"], [], ["list_embed"], ["embed.h"]),
    "gather, view, concat, cast": (["copy", "gather", "view", "concat", "cast"], ["tg_copy"], [],
                                   ["copy_row", "gather", "view", "concat_columns", "concat_rows", "round_rows"], []),
    "linear, grouped_linear, bmm": (
        ["set_x", "codes_of", "product", "linear", "grouped_linear", "bmm"],
        ["tg_linear_few", "tg_linear_tile", "tg_bmm", "tg_bmm_transposed"], ["linear_mma.cu", "codes.h"],
        ["list_linear", "is_split", "split_activations", "list_grouped_linear", "list_bmm", "dot", "bmm"],
        ["linear.h", "linear_store.h", "int8.h", "bf16.h", "grouped.h", "codecs.h", "amx.h", "amx_bf16.h"]),
    "xq": (["quantized"], ["tg_quantize"], [], ["activations", "int8_rounding", "is_rounded_alike", "int8_activations"],
           ["quantize.h", "split.h"]),
    "rmsnorm": (["rms_norm"], ["tg_rms_norm"], [], ["list_rms_norm"], []),
    "layernorm": (["layer_norm"], ["tg_layer_norm"], [], ["layer_norm"], []),
    "add, mul": (["binary"], ["tg_binary"], [], ["list_binary"], []),
    "glu": (["glu"], ["tg_glu"], [], ["list_glu", "glu"], []),
    "act": ([], ["tg_act"], [], ["sigmoid", "gelu_tanh", "activate", "act"], []),
    "ew": (["ew"], ["tg_ew"], [], ["unary", "binary", "element", "evaluate", "ew"], []),
    "reduce": (["reduce"], ["tg_reduce"], [], ["softmax", "reduce"], []),
    "rope": (["rope"], ["tg_rope_table", "tg_rope"], [], ["list_rope", "fill_rope_table"], []),
    "rmsnorm, add, glu, rope: rows": ([], [], [], [], ["rows.h"]),
    "kv_append": (["kv_append"], ["tg_kv_append"], [], ["list_kv_append"], ["../kv_store.cc"]),
    "attn": (["attention"], ["tg_attention", "tg_attention_join"], ["attention_mma.cu"],
             ["mask_of", "attention_segments", "list_attention"], ["attention.h", "kv_formats.h"]),
    "route": (["route"], ["tg_route", "tg_order"], [],
              ["list_route", "best_of", "score", "group_value", "keep_groups", "weigh", "route_token", "route",
               "order_rows"], []),
    "combine": (["combine"], ["tg_combine"], [], ["combine"], []),
    "logits": (["logits"], ["tg_logits"], [],
               ["list_logits", "add_bias", "penalise", "mask", "by_likelihood", "kept", "filter_by_likelihood",
                "filter_row", "filter_logits"], []),
    "sample": (["sample"], ["tg_sample"], [], ["list_sample", "put_most_likely", "sample_rows"], []),
    "permute": (["permute"], ["tg_permute"], [], ["permute"], []),
}
CPU_OPS = ("exec_ops.cc", "plain_ops.cc", "moe_ops.cc", "sample_ops.cc")


def code_lines(text):
    text = re.sub(r"/\*.*?\*/", lambda m: "\n" * m.group().count("\n"), text, flags=re.S)
    lines = (re.sub(r"(//|#(?!\w)).*", "", line).strip() for line in text.splitlines())
    return sum(1 for line in lines if line)


def lines_of(folder, *patterns, without=("_test.", "fake_")):
    files = [p for pattern in patterns for p in (BACKEND / folder).glob(pattern)]
    return sum(code_lines(p.read_text()) for p in files if not any(w in p.name for w in without))


def bodies(text, start):
    """From each line that begins with `start` to the first line after it that is a closing brace alone."""
    return "".join(text[at.start():text.index("\n}\n", at.start()) + 2]
                   for at in re.finditer(start, text, flags=re.M))


def table():
    ports = [
        ("shared host code (gpu)", lines_of("gpu", "*.h", "*.cc")),
        ("shared kernels (gpu/kernels)", lines_of("gpu/kernels", "*.cl")),
        ("opencl, all of it", lines_of("opencl", "*.h", "*.cc")),
        ("cuda, host code", lines_of("cuda", "*.h", "*.cc")),
        ("cuda, kernels of its own", lines_of("cuda/kernels", "*.h", "*.cu", without=("emulation",))),
        ("cuda, emulation of tensor cores for tests", lines_of("cuda/kernels", "emulation.h")),
        ("cpu, host code", lines_of("cpu", "*.h", "*.cc", without=("_test.", "_bench."))),
        ("cpu, vector kernels", lines_of("cpu/kernels", "*.h", "*.cc")),
        ("skeleton in C (kit)", lines_of("kit", "skeleton.c", "vendor_kernels.*")),
    ]
    out = ["| part | lines |", "|---|---|"]
    out += [f"| {name} | {n} |" for name, n in ports]
    host = "".join((BACKEND / "gpu" / f).read_text() for f in ("lowering.cc", "lowering_products.cc"))
    kernels = "".join(p.read_text() for p in sorted((BACKEND / "gpu/kernels").glob("*.cl")))
    cpu = "".join((BACKEND / "cpu" / f).read_text() for f in CPU_OPS)
    out += ["", "| op | opencl and cuda: host | kernels | cuda's own | cpu |", "|---|---|---|---|---|"]
    for op, (functions, names, own, listed, files) in OPS.items():
        row = [sum(code_lines(bodies(host, rf"^[\w:]+ Lowering::{f}\(")) for f in functions),
               sum(code_lines(bodies(kernels, rf"^KERNEL\({k}\)")) for k in names),
               sum(code_lines((BACKEND / "cuda/kernels" / f).read_text()) for f in own),
               sum(code_lines(bodies(cpu, rf"^(?:static )?[\w:<>\* ]+ \*?(?:Exec::)?{f}\(")) for f in listed) +
               sum(code_lines((BACKEND / "cpu/kernels" / f).read_text()) for f in files)]
        out.append(f"| {op} | " + " | ".join(str(n) if n else "" for n in row) + " |")
    return "\n".join(out)


def without_cpu(text):
    text = re.sub(r"^\| cpu, .*$", "", text, flags=re.M)
    return re.sub(r"^(\|(?:[^|\n]*\|){4})[^|\n]*\|$", r"\1", text, flags=re.M)


def main():
    path = ROOT / "PORTING.md"
    text = path.read_text()
    head, rest = text.split(BEGIN)
    tail = rest.split(END, 1)[1]
    wanted = f"{head}{BEGIN}\n{table()}\n{END}{tail}"
    if "--write" in sys.argv:
        path.write_text(wanted)
    elif "--check" in sys.argv:
        if without_cpu(text) != without_cpu(wanted):
            sys.exit("PORTING.md: its line counts are not the tree's (python3 tools/port_lines.py --write)")
    else:
        print(table())


if __name__ == "__main__":
    main()
