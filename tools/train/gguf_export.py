"""Writes a checkpoint of train.py as a GGUF file: matrices Q8_0, norms F32, tied embeddings (no output.weight)."""
import argparse

import torch

import bpe
import gguf
import model
from gguf import ARRAY, BOOL, F32, I32, STRING, TYPE_F32, TYPE_Q8_0, U32

TEMPLATE = ("{% for message in messages %}{{'<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>' + '\n'}}"
            "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}")


def metadata(c, tok, name):
    special = {tok.special[s] for s in bpe.SPECIALS}
    n = len(tok.tokens)
    return [
        ("general.architecture", STRING, "llama"),
        ("general.name", STRING, name),
        ("general.license", STRING, "apache-2.0"),
        ("general.file_type", U32, 7),  # mostly Q8_0
        ("general.quantization_version", U32, 2),
        ("general.alignment", U32, gguf.ALIGN),
        ("llama.block_count", U32, c.layers),
        ("llama.context_length", U32, c.context),
        ("llama.embedding_length", U32, c.dim),
        ("llama.feed_forward_length", U32, c.ffn),
        ("llama.attention.head_count", U32, c.heads),
        ("llama.attention.head_count_kv", U32, c.kv_heads),
        ("llama.attention.layer_norm_rms_epsilon", F32, c.eps),
        ("llama.rope.dimension_count", U32, c.head_dim),
        ("llama.rope.freq_base", F32, c.rope_base),
        ("llama.vocab_size", U32, n),
        ("tokenizer.ggml.model", STRING, "gpt2"),
        ("tokenizer.ggml.pre", STRING, "qwen2"),
        ("tokenizer.ggml.tokens", ARRAY, (STRING, tok.tokens)),
        ("tokenizer.ggml.token_type", ARRAY, (I32, [3 if i in special else 1 for i in range(n)])),
        ("tokenizer.ggml.merges", ARRAY, (STRING, [" ".join(m) for m in tok.merges])),
        ("tokenizer.ggml.bos_token_id", U32, tok.special["<|endoftext|>"]),
        ("tokenizer.ggml.eos_token_id", U32, tok.special["<|im_end|>"]),
        ("tokenizer.ggml.padding_token_id", U32, tok.special["<|endoftext|>"]),
        ("tokenizer.ggml.add_bos_token", BOOL, False),
        ("tokenizer.chat_template", STRING, TEMPLATE),
    ]


def export(checkpoint, vocab, out, name):
    s = torch.load(checkpoint, map_location="cpu")
    c, tok = model.Config(**s["config"]), bpe.Tokenizer.load(vocab)
    tensors = []
    for n in model.shapes(c):
        x = s["params"][n].float().numpy()
        tensors.append((n + ".weight", x, TYPE_F32 if x.ndim == 1 else TYPE_Q8_0))
    gguf.write(out, metadata(c, tok, name), tensors)
    return s


if __name__ == "__main__":
    ap = argparse.ArgumentParser()
    ap.add_argument("checkpoint")
    ap.add_argument("vocab")
    ap.add_argument("out")
    ap.add_argument("--name", default="Tokengrid Tiny")
    a = ap.parse_args()
    s = export(a.checkpoint, a.vocab, a.out, a.name)
    print("%s: step %d, %.1fM tokens, %.0f s, loss %.4f" % (a.out, s["step"], s["tokens"] / 1e6, s["seconds"], s["loss"] or 0))
