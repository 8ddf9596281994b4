// One decoder program being written. The parts of a layer are in files of their own: attention over
// a cache of keys and values (decoder_attention.cc), over latent rows (decoder_latent.cc), and the
// feed-forward blocks (decoder_feed_forward.cc).
#pragma once

#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "model/architecture/architectures.h"
#include "model/architecture/decoder_tensors.h"
#include "model/architecture/program_text.h"
#include "model/architecture/shape.h"

namespace tg::model {

// kMain reads everything from the cache. kFresh is the second form of latent attention, for steps
// in which no sequence has cached keys: there the latent rows are expanded once per token.
enum class Entry : u8 { kMain, kFresh };

class DecoderDraft {
 public:
  DecoderDraft(const DecoderTraits& traits, const DecoderShape& shape, const ImportOptions& options,
               const DecoderTensors& tensors)
      : traits_(traits), s_(shape), options_(options), tensors_(tensors) {}

  std::string write();

 private:
  void declarations();
  void caches();
  void constants();
  void function(Entry entry);
  void embedding();
  void run(std::size_t index);
  void residual(const Run& run, std::string_view result, std::string_view x, std::string_view block,
                Role post_norm);
  void head();

  // Each leaves the block's output, in the residual's width, in the value it returns.
  std::string_view grouped_attention(const Run& run);
  std::string_view latent_attention(const Run& run);
  std::string_view dense_feed_forward(const Run& run);
  std::string_view expert_feed_forward(const Run& run);

  void grouped_inputs(const Run& run);
  // Normalises per head if the layer does, then rotates; the result's name ends in 'r'.
  void rotate(const Run& run, std::string_view x, Role norm_role, i64 heads);
  void latent_query(const Run& run);
  void latent_row(const Run& run);
  void attend_cached(const Run& run);
  void attend_fresh(const Run& run);
  // The value that holds `copies` of x, [T,width], side by side; those in `joined` exist already.
  std::string join_copies(std::string_view x, i64 copies, i64 width, std::set<i64>& joined);
  void route(const Run& run);
  void shared_expert(const Run& run);

  void instruction(std::string_view result, std::string_view op, std::string_view operands,
                   std::string_view attributes, std::string_view type) {
    text_.instruction(result, op, operands, attributes, type);
  }
  void linear(const Run& run, std::string_view result, std::string_view x, Role w, Role bias,
              i64 width);
  void norm(const Run& run, std::string_view result, std::string_view x, Role w, i64 group,
            i64 width);
  void view(std::string_view result, std::string_view x, i64 offset, std::string_view type);
  std::string rope_attributes(const Run& run, i64 heads, i64 offset) const;
  // "" without a gate function's attributes.
  std::string gate_attributes() const;

  std::string symbol(const WeightSlot& slot) const { return tensors_.symbols.name(slot.symbol); }
  // "$wq[l+4]"
  std::string weight(const Run& run, Role role) const {
    const WeightSlot& slot = run.slots[role];
    return fmt::format("${}[{}]", symbol(slot), loop_index(slot.ordinal));
  }
  std::string_view product(const WeightSlot& slot) const {
    isa::DType codec = tensors_.symbols.all()[static_cast<std::size_t>(slot.symbol)].codec;
    return product_attributes(codec, options_);
  }
  std::string cache(const Run& run) const { return fmt::format("$kv[{}]", loop_index(run.first)); }
  static std::string loop_index(i64 offset) {
    return offset == 0 ? "l" : fmt::format("l+{}", offset);
  }
  // " key=5" or " key=cyc(5,0)" for the layers of a run, where windowed layers have one value and
  // the others another; "" if all are 0.
  std::string by_window(const Run& run, std::string_view key, i64 windowed, i64 other) const;

  // A value's name, which is unique in the function though each run repeats the same body.
  std::string value(std::string_view base) const { return fmt::format("%{}{}", base, suffix_); }
  std::string_view activation() const { return options_.activations_bf16 ? "bf16" : "f32"; }
  std::string tokens(i64 width) const { return fmt::format("{}[T,{}]", activation(), width); }
  std::string tokens(i64 groups, i64 width) const {
    return fmt::format("{}[T,{},{}]", activation(), groups, width);
  }
  // Rows of all (token, rank) pairs of a routed layer.
  std::string routed(i64 width) const {
    return fmt::format("{}[{}*T,{}]", activation(), s_.experts.used, width);
  }

  const DecoderTraits& traits_;
  const DecoderShape& s_;
  const ImportOptions& options_;
  const DecoderTensors& tensors_;
  ProgramText text_;
  Entry entry_ = Entry::kMain;
  std::string suffix_;  // of the current run's values
};

}  // namespace tg::model
