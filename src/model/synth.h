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
#include "model/architecture/rope_table.h"
#include "model/gguf/writer.h"
#include "model/synth_shapes.h"

namespace tg::model {

// The frequency scaling of Llama 3.1.
inline constexpr BandedScaling kLlama31Scaling = {
    .factor = 8, .low = 1, .high = 4, .original_context = 8'192};

struct SynthOptions {
  std::string path;
  SynthShape shape;
  // f32 f16 bf16 q8_0 q4_0 q4_k q6_k: all matrices; q4_k_m: q4_k with q6_k for the head and for
  // attn_v and ffn_down of about half of the layers; mxfp4: experts, with q8_0 for other matrices.
  // A matrix whose rows are no whole blocks is q8_0 or f16; norms, biases and routers are f32.
  std::string codec = "q8_0";
  u64 seed = 1;
  bool no_data = false;
  std::function<void(u64 bytes_done, u64 bytes_total)> progress;  // may be empty
};

// The header that synthesize() writes, to be looked at or edited. kInvalid for an unknown codec;
// otherwise as the readers of architecture/.
Result<gguf::Header> synth_header(const SynthShape& shape, std::string_view codec, bool no_data);

// Writes the file; nothing is left behind on error. The same options give the same bytes. The
// vocabulary's first 256 tokens are the byte alphabet, the rest are fillers "<t256>" ...; the last
// is "<|endoftext|>".
Status synthesize(const SynthOptions& options);

}  // namespace tg::model
