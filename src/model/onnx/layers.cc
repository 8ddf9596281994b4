// A layer begins where the fewest values are alive between two attentions (the residual stream), as
// late as possible.
#include "model/onnx/layers.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <map>
#include <set>

#include "base/assert.h"
#include "isa/limits.h"

namespace tg::onnx {
namespace {

std::size_t at(i32 index) {
  return static_cast<std::size_t>(index);
}

// For every value the step that makes it and the last that reads it.
struct Lifetimes {
  std::vector<std::size_t> made;
  std::vector<std::size_t> read;
};

Lifetimes find_lifetimes(const Draft& draft) {
  std::size_t end = draft.steps.size();
  Lifetimes out{std::vector<std::size_t>(draft.widths.size(), end),
                std::vector<std::size_t>(draft.widths.size(), 0)};
  for (std::size_t i = 0; i < end; ++i) {
    const Step& step = draft.steps[i];
    for (const Ref& ref : step.in)
      if (ref.kind == Ref::Kind::kValue) out.read[at(ref.index)] = i;
    if (step.out >= 0) out.made[at(step.out)] = i;
  }
  out.read[at(draft.logits)] = end;
  return out;
}

// By step: values that are made before it and read at it or later.
std::vector<i64> count_live(const Draft& draft, const Lifetimes& lives) {
  std::vector<i64> out(draft.steps.size() + 2);
  for (std::size_t v = 0; v < draft.widths.size(); ++v) {
    if (lives.made[v] >= lives.read[v]) continue;
    ++out[lives.made[v] + 1];
    --out[lives.read[v] + 1];
  }
  for (std::size_t i = 1; i < out.size(); ++i) out[i] += out[i - 1];
  return out;
}

// The latest step in [low, high] before which the fewest values, but at least one, are alive.
std::size_t narrowest(const std::vector<i64>& live, std::size_t low, std::size_t high) {
  std::size_t best = high;
  for (std::size_t i = high + 1; i-- > low;)
    if (live[i] > 0 && (live[i] < live[best] || live[best] == 0)) best = i;
  return best;
}

std::vector<std::size_t> layer_starts(const Draft& draft, const Lifetimes& lives) {
  std::vector<i64> live = count_live(draft, lives);
  std::vector<std::size_t> out;
  std::size_t low = 0;
  for (std::size_t i = 0; i < draft.steps.size(); ++i) {
    if (!draft.steps[i].is("kv_append")) continue;
    out.push_back(narrowest(live, low, i));
    low = i + 1;
  }
  return out;
}

// Values alive before each of `cuts`, ascending.
std::vector<std::vector<i32>> live_at(const Draft& draft, const Lifetimes& lives,
                                      const std::vector<std::size_t>& cuts) {
  std::vector<std::vector<i32>> out;
  std::set<i32> live;
  std::size_t cut = 0;
  for (std::size_t i = 0; i <= draft.steps.size() && cut < cuts.size(); ++i) {
    // Values last read before step i end here.
    if (i > 0) {
      for (const Ref& ref : draft.steps[i - 1].in)
        if (ref.kind == Ref::Kind::kValue && lives.read[at(ref.index)] == i - 1)
          live.erase(ref.index);
      i32 made = draft.steps[i - 1].out;
      if (made >= 0 && lives.read[at(made)] >= i) live.insert(made);
    }
    for (; cut < cuts.size() && cuts[cut] == i; ++cut) out.emplace_back(live.begin(), live.end());
  }
  return out;
}

class Describer {
 public:
  Describer(const Draft& draft, const std::vector<Weight>& weights,
            const std::vector<bool>& is_private)
      : draft_(draft), weights_(weights), is_private_(is_private) {}

  void describe(Block& block) {
    names_.clear();
    slots_.clear();
    for (std::size_t i = 0; i < block.live_in.size(); ++i) {
      names_[block.live_in[i]] = fmt::format("c{}", i);
      block.shape += fmt::format("c{}:{} ", i, width(block.live_in[i]));
    }
    for (std::size_t i = block.first; i < block.last; ++i) step(draft_.steps[i], block);
    for (i32 v : block.live_out) block.shape += fmt::format("{}:{} ", names_[v], width(v));
  }

 private:
  i64 width(i32 value) const { return draft_.widths[at(value)]; }

  void step(const Step& step, Block& block) {
    block.shape += fmt::format("{} {{{}}} {} ", step.op, step.attributes,
                               step.number.has_value() ? fmt::format("{}", *step.number) : "");
    for (const Ref& ref : step.in) block.shape += operand(ref, block) + ' ';
    if (step.window.has_value()) block.windows.push_back(*step.window);
    if (step.out < 0) return;
    std::string name = fmt::format("v{}", names_.size());
    block.shape += fmt::format("-> {}:{}\n", name, width(step.out));
    names_[step.out] = name;
  }

  std::string operand(const Ref& ref, Block& block) {
    switch (ref.kind) {
      case Ref::Kind::kValue: return names_[ref.index];
      case Ref::Kind::kConstant: return fmt::format("K{}", ref.index);
      case Ref::Kind::kParameter: return std::string(ref.parameter);
      case Ref::Kind::kCache:
        if (block.cache < 0) block.cache = ref.index;
        return fmt::format("kv{}", ref.index - block.cache);
      case Ref::Kind::kWeight: break;
    }
    if (!is_private_[at(ref.index)]) return fmt::format("W{}", ref.index);
    std::pair<std::map<i32, std::size_t>::iterator, bool> slot =
        slots_.emplace(ref.index, block.weights.size());
    if (slot.second) block.weights.push_back(ref.index);
    const Weight& weight = weights_[at(ref.index)];
    return fmt::format("w{}:{}{}", slot.first->second, static_cast<int>(weight.codec),
                       dims_text(weight.dims));
  }

  const Draft& draft_;
  const std::vector<Weight>& weights_;
  const std::vector<bool>& is_private_;
  std::map<i32, std::string> names_;  // by value, in this block
  std::map<i32, std::size_t> slots_;  // by weight, in block.weights
};

std::vector<bool> find_private(const Draft& draft, std::size_t weights,
                               const std::vector<Block>& blocks) {
  constexpr i32 kNobody = -1;
  constexpr i32 kMany = -2;
  std::vector<i32> reader(weights, kNobody);
  std::size_t block = 0;
  for (std::size_t i = 0; i < draft.steps.size(); ++i) {
    while (block < blocks.size() && i >= blocks[block].last) ++block;
    bool is_inside = block < blocks.size() && i >= blocks[block].first;
    for (const Ref& ref : draft.steps[i].in) {
      if (ref.kind != Ref::Kind::kWeight) continue;
      i32& r = reader[at(ref.index)];
      i32 here = is_inside ? static_cast<i32>(block) : kMany;
      r = r == kNobody || r == here ? here : kMany;
    }
  }
  std::vector<bool> out;
  for (i32 r : reader) out.push_back(r >= 0);
  return out;
}

std::vector<i64> widths_of(const Draft& draft, const std::vector<i32>& values) {
  std::vector<i64> out;
  for (i32 v : values) out.push_back(draft.widths[at(v)]);
  return out;
}

// The windows of attention `i` in `count` blocks from `first` on.
std::vector<i64> windows_of(const std::vector<Block>& blocks, const Run& run, std::size_t i) {
  std::vector<i64> out;
  for (std::size_t b = run.first; b < run.first + run.count; ++b)
    out.push_back(blocks[b].windows[i]);
  return out;
}

bool has_short_cycles(const std::vector<Block>& blocks, const Run& run) {
  for (std::size_t i = 0; i < blocks[run.first].windows.size(); ++i)
    if (static_cast<i64>(window_cycle(windows_of(blocks, run, i)).size()) > isa::kCycleMax)
      return false;
  return true;
}

std::vector<Run> find_runs(const Draft& draft, const std::vector<Block>& blocks) {
  std::vector<Run> out;
  for (std::size_t b = 0; b < blocks.size(); b += out.back().count) {
    const Block& first = blocks[b];
    bool loops = widths_of(draft, first.live_in) == widths_of(draft, first.live_out);
    std::size_t end = b + 1;
    while (loops && end < blocks.size() && blocks[end].shape == first.shape &&
           blocks[end].cache == first.cache + static_cast<i64>(end - b))
      ++end;
    out.push_back({b, end - b});
    if (!has_short_cycles(blocks, out.back()))
      out.back().count = static_cast<std::size_t>(isa::kCycleMax);
  }
  return out;
}

}  // namespace

std::vector<i64> window_cycle(const std::vector<i64>& windows) {
  TG_ASSERT(!windows.empty());
  std::size_t period = 1;
  for (; period < windows.size(); ++period)
    if (std::equal(windows.begin() + static_cast<std::ptrdiff_t>(period), windows.end(),
                   windows.begin()))
      break;
  return {windows.begin(), windows.begin() + static_cast<std::ptrdiff_t>(period)};
}

Layers find_layers(const Draft& draft, const std::vector<Weight>& weights, std::size_t tail) {
  Lifetimes lives = find_lifetimes(draft);
  std::vector<std::size_t> cuts = layer_starts(draft, lives);
  TG_ASSERT(!cuts.empty());
  cuts.push_back(tail > cuts.back() ? tail : draft.steps.size());
  std::vector<std::vector<i32>> live = live_at(draft, lives, cuts);
  Layers out;
  for (std::size_t i = 0; i + 1 < cuts.size(); ++i)
    out.blocks.push_back(
        {.first = cuts[i], .last = cuts[i + 1], .live_in = live[i], .live_out = live[i + 1]});
  out.is_private = find_private(draft, weights.size(), out.blocks);
  Describer describer(draft, weights, out.is_private);
  for (Block& block : out.blocks) describer.describe(block);
  out.runs = find_runs(draft, out.blocks);
  return out;
}

}  // namespace tg::onnx
