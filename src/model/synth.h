// Synthetic models: GGUF files of published shapes with random weights, for benchmarks, tests and
// estimates. Deterministic by seed; with `no_data` only the header is written, which is enough to
// build, cost and quote the program of a model of any size.
#pragma once

#include <functional>
#include <span>
#include <string>
#include <string_view>

#include "base/result.h"
#include "base/types.h"
#include "model/gguf/writer.h"

namespace tg::model {

struct SynthShape {
  std::string_view name;
  std::string_view architecture;
  i64 layers = 0;
  i64 width = 0;
  i64 heads = 0;
  i64 kv_heads = 0;
  i64 head_dim = 0;
  i64 ffn = 0;
  i64 vocabulary = 0;
  i64 context = 0;
  i64 window = 0;  // 0: unbounded
  f32 rope_base = 10'000;
  f32 eps = 1e-5f;
  bool is_tied = false;          // no output.weight
  bool has_banded_rope = false;  // the frequency scaling of Llama 3.1
};

std::span<const SynthShape> synth_shapes();
// kNotFound, naming the known shapes.
Result<SynthShape> find_synth_shape(std::string_view name);

struct SynthOptions {
  std::string path;
  SynthShape shape;
  // f32 f16 bf16 q8_0 q4_0 q4_k q6_k: all matrices; q4_k_m: q4_k with q6_k for the head and for
  // attn_v and ffn_down of about half of the layers. Norms are f32.
  std::string codec = "q8_0";
  u64 seed = 1;
  bool no_data = false;
  std::function<void(u64 bytes_done, u64 bytes_total)> progress;  // may be empty
};

// The header that synthesize() writes, to be looked at or edited. kInvalid for an unknown codec or
// a shape whose rows are not whole blocks of it.
Result<gguf::Header> synth_header(const SynthShape& shape, std::string_view codec, bool no_data);

// Writes the file; nothing is left behind on error. The same options give the same bytes. The
// vocabulary's first 256 tokens are the byte alphabet, the rest are fillers "<t256>" ...; the last
// is "<|endoftext|>".
Status synthesize(const SynthOptions& options);

}  // namespace tg::model
