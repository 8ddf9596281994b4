#!/usr/bin/env python3
"""Rewrites the expected halves of jinja_cases.txt with what Python's jinja2 renders, in the setup chat
templates are rendered with everywhere: trim_blocks, lstrip_blocks, loop controls, json.dumps without
ASCII escapes. Needs python3-jinja2. With --hashes DIR, prints the SHA-256 of every template in DIR
rendered over the conversation of shared_templates_test.cc."""
import datetime
import hashlib
import json
import pathlib
import sys

import jinja2
from jinja2 import nodes
from jinja2.ext import Extension

NOW = 1753272000
MESSAGES = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": " Hello  \n"},
            {"role": "assistant", "content": "Hi \u2014 \"there\"!"},
            {"role": "user", "content": "How's \u65e5\u672c?"}]
VARIABLES = {"d": {"a": 1, "b": [1, 2, 3], "c": {"x": "y"}}, "n": 7, "f": 2.5, "s": "Hello World",
             "u": "d\u00e9j\u00e0 \u65e5\u672c \U0001f600", "l": [3, 1, 2], "yes": True, "nil": None,
             "users": [{"name": "bob", "age": 3, "ok": True}, {"name": "Al", "age": 1, "ok": False},
                       {"name": "cy", "age": 2}]}


class Generation(Extension):
    tags = {"generation"}

    def parse(self, parser):
        line = next(parser.stream).lineno
        body = parser.parse_statements(["name:endgeneration"], drop_needle=True)
        return nodes.CallBlock(self.call_method("_body"), [], [], body).set_lineno(line)

    def _body(self, caller):
        return caller()


def fail(message):
    raise ValueError(message)


def environment():
    env = jinja2.Environment(trim_blocks=True, lstrip_blocks=True,
                             extensions=["jinja2.ext.loopcontrols", Generation])
    env.filters["tojson"] = lambda x, indent=None, separators=None, sort_keys=False, ensure_ascii=False: (
        json.dumps(x, ensure_ascii=ensure_ascii, indent=indent, separators=separators,
                   sort_keys=sort_keys))
    env.filters["from_json"] = json.loads
    env.globals["raise_exception"] = fail
    now = datetime.datetime.fromtimestamp(NOW, datetime.timezone.utc)
    env.globals["strftime_now"] = now.strftime
    return env


def render(source, messages, **extra):
    try:
        return environment().from_string(source).render(
            messages=messages, tools=None, add_generation_prompt=True, bos_token="<s>",
            eos_token="</s>", **extra)
    except Exception:  # Whatever Python refuses, we must refuse.
        return "!error"


def refresh():
    path = pathlib.Path(__file__).with_name("jinja_cases.txt")
    out = []
    for block in path.read_text().split("\n### ")[1:-1]:
        name, rest = block.split("\n", 1)
        source = rest.split("\n---\n")[0]
        expected = render(source, MESSAGES, **VARIABLES)
        out.append(f"\n### {name}\n{source}\n---\n{expected}")
    head = path.read_text().split("\n### ")[0]
    path.write_text(head + "".join(out) + "\n### end\n")


def hashes(folder):
    for path in sorted(pathlib.Path(folder).glob("*.jinja")):
        text = render(path.read_text(), MESSAGES[1:])
        digest = "error" if text == "!error" else hashlib.sha256(text.encode()).hexdigest()[:16]
        print(f'    {{"{path.stem}", "{digest}"}},')


if sys.argv[1:2] == ["--hashes"]:
    hashes(sys.argv[2])
else:
    refresh()
