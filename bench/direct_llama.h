// The decode step of a llama as one would write it by hand over the CPU's kernels: every argument
// is made beforehand, a step writes its few integers and calls the kernels one after the other.
// Nothing interprets a program. It is what `dispatch_bench` holds the bytecode against.
#pragma once

#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "backend/abi.h"
#include "backend/cpu/kernels/args.h"
#include "backend/cpu/plain_ops.h"
#include "backend/cpu/plan.h"
#include "backend/cpu/pool.h"
#include "base/result.h"
#include "isa/program.h"

namespace tg {

// What an executor has planned, and where it has its memory.
struct BoundMemory {
  std::optional<backend::cpu::Plan> plan;
  const u8* weights = nullptr;
  u8* kv = nullptr;
  u8* activations = nullptr;
  u8* workspace = nullptr;
  u8* output = nullptr;
  std::vector<tg_wplace> weight_places;
  std::vector<tg_kvplace> kv_places;
};

class DirectLlama {
 public:
  // Works in the executor's memory, each result in its place there: where memory lies decides on
  // more than calls cost. kUnsupported if the program's main is not a llama's with products of int8
  // activations by weights of one codec. `memory` outlives it.
  static Result<std::unique_ptr<DirectLlama>> make(const BoundMemory& memory, i32 threads,
                                                   i64 context_max);

  // One new token of the only sequence, which has `past` keys in pages 0, 1, ...; its logits, good
  // until the next step of either. REQUIRES: past < context_max.
  std::span<const f32> step(i32 id, i32 past);

 private:
  using Tensor = backend::cpu::Tensor;

  struct Layer {
    backend::cpu::RmsNormArgs norm1;
    backend::cpu::QuantizeArgs codes1;
    backend::cpu::LinearArgs q, k, v;
    backend::cpu::RopeArgs rope_q, rope_k;
    backend::cpu::KvAppendArgs append;
    backend::cpu::AttentionArgs attention;
    backend::cpu::QuantizeArgs codes_a;
    backend::cpu::LinearArgs o;
    backend::cpu::BinaryArgs add1;
    backend::cpu::RmsNormArgs norm2;
    backend::cpu::QuantizeArgs codes2;
    backend::cpu::LinearArgs g, u;
    backend::cpu::GluArgs glu;
    backend::cpu::QuantizeArgs codes_s;
    backend::cpu::LinearArgs d;
    backend::cpu::BinaryArgs add2;
  };
  class Maker;

  explicit DirectLlama(i32 threads) : pool_(threads) {}

  template <typename Args>
  void call(backend::cpu::Kernel<Args> kernel, const Args& args, i64 work);
  void product(const backend::cpu::LinearArgs& args) {
    call(kernels_->linear, args, args.n * args.k);
  }
  void run_layer(const Layer& layer);

  const backend::cpu::Kernels* kernels_ = nullptr;
  backend::cpu::Pool pool_;
  std::vector<f32> invf_;

  // Of the step.
  i32 id_ = 0, past_ = 0, position_ = 0, slot_ = 0, row_ = 0, tree_ = -1, sequence_ = 0;
  i32 cu_[2] = {0, 1}, page_begin_[2] = {0, 0};
  std::vector<i32> pages_;
  i64 page_tokens_ = 0;

  backend::cpu::EmbedArgs embed_{};
  backend::cpu::RopeTableArgs table_{};
  std::vector<Layer> layers_;
  backend::cpu::OpAttributes no_attributes_;
  Tensor gathered_[2];
  std::unique_ptr<backend::cpu::PlainArgs> gather_;
  backend::cpu::RmsNormArgs norm_{};
  backend::cpu::QuantizeArgs codes_{};
  backend::cpu::LinearArgs head_{};
};

}  // namespace tg
