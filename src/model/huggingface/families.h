// The model families that Hugging Face directories are translated from, as tables: which key of
// config.json becomes which GGUF key, which module's weights become which GGUF tensors, and what a
// setting must be because the program template knows nothing else. A family that only differs in
// its tables is one more row of families.cc.
#pragma once

#include <array>
#include <span>
#include <string_view>

#include "base/result.h"
#include "model/gguf/writer.h"
#include "model/huggingface/config.h"

namespace tg::checkpoint {

enum class KeyType : u8 { kCount, kReal, kFlag };

struct KeyRow {
  std::string_view gguf;  // behind "<architecture>."
  std::string_view key;   // of config.json
  KeyType type = KeyType::kCount;
  bool is_required = false;
};

// How a module's stored weights become a tensor.
enum class Shaping : u8 {
  kPlain,
  kExpert,        // one module per expert {e}: stacked to [E,N,K]
  kPlusOne,       // norms that are stored without the 1 that is added to them
  kKeyValueUp,    // kv_b_proj of latent attention: split into attn_k_b and attn_v_b
  kGateUpExperts  // blocks and scales of mxfp4, gate and up rows interleaved
};

// A module of the checkpoint ("model.layers.{l}.mlp.up_proj", {l} and {e} being numbers) and the
// tensor it becomes; ".weight" and ".bias" stand behind both. A row whose names are whole has no
// such ending.
struct TensorRow {
  std::string_view module;
  std::string_view gguf;  // "blk.{l}.ffn_up"
  Shaping shaping = Shaping::kPlain;
};

// A setting that may be absent or must be one of `values`, separated by '|', as show() writes them
// without quotes.
struct Expectation {
  std::string_view key;
  std::string_view values;
};

struct Family {
  std::string_view architecture;  // architectures[0] of config.json
  std::string_view model_type;    // where architectures is absent; empty: never by this
  std::string_view gguf;          // general.architecture
  std::string_view rope_style;    // empty: as the GGUF architecture has it
  std::array<std::span<const KeyRow>, 3> keys;
  std::array<std::span<const TensorRow>, 3> tensors;
  std::array<std::span<const Expectation>, 2> expectations;
  i64 window_period = 1;         // of so many layers the last sees all keys
  f64 rope_base_default = 0;     // 0: rope_theta must be stated
  f64 rotary_share_default = 1;  // of a head's elements
  bool truncates_yarn = true;    // what the template does
  bool is_encoder = false;       // without rope and head
  // What no table says; writes keys behind the architecture's prefix. May be nullptr.
  Status (*derive)(const Config& config, std::string_view prefix, gguf::Header& out) = nullptr;
};

std::span<const Family> families();

// By architectures[0], or by model_type if there are none. kUnsupported, naming those known.
Result<const Family*> find_family(const Config& config);

}  // namespace tg::checkpoint
