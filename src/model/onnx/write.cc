// Straight instructions name values "%v12"; the body of loop 2 names its own "%l2_5" and what it
// carries "%c2_0", which are "%x2_0" after it.
#include "model/onnx/write.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <bit>
#include <map>

#include "base/assert.h"
#include "model/onnx/layers.h"
#include "model/onnx/symbol_names.h"
#include "model/onnx/tidy.h"

namespace tg::onnx {
namespace {

std::size_t at(i32 index) {
  return static_cast<std::size_t>(index);
}

// Where a weight is: an element of a symbol.
struct Place {
  std::size_t symbol = 0;
  i64 layer = 0;
};

class Writer {
 public:
  Writer(const Draft& draft, std::size_t tail, const std::vector<Weight>& weights,
         const model::ImportOptions& options)
      : draft_(draft),
        weights_(weights),
        options_(options),
        layers_(find_layers(draft, weights, tail)) {
    names_.take("kv");
    find_rows();
    place_weights();
    name_constants();
  }

  Written write(i64 context) {
    declarations(context);
    text_ += ".func main (%ids i32[T], %pos i32[T], %rows i32[R], %bt batch) -> %logits\n";
    straight(0, layers_.blocks.front().first);
    for (std::size_t r = 0; r < layers_.runs.size(); ++r) {
      const Run& run = layers_.runs[r];
      const Block& first = layers_.blocks[run.first];
      if (run.count == 1) {
        straight(first.first, first.last);
      } else {
        loop(r, run);
      }
    }
    straight(layers_.blocks.back().last, draft_.steps.size());
    text_ += ".end\n";
    return {std::move(text_), std::move(symbols_)};
  }

 private:
  void find_rows();
  void place_weights();
  void place(const Run& run);
  void name_constants();
  void declarations(i64 context);
  void straight(std::size_t first, std::size_t last);
  void loop(std::size_t index, const Run& run);
  void line(const Step& step, const std::string& result);
  std::string operand(const Ref& ref) const;
  std::string attributes(const Step& step) const;
  std::string type(i32 value) const;

  std::string result_name(i32 value) const {
    return value == draft_.logits ? "%logits" : fmt::format("%v{}", value);
  }

  const Draft& draft_;
  const std::vector<Weight>& weights_;
  const model::ImportOptions& options_;
  Layers layers_;
  SymbolNames names_;
  std::vector<Symbol> symbols_;
  std::map<std::string, std::size_t> layered_;  // symbols by role, codec and dimensions
  std::map<i32, Place> places_;                 // by weight
  std::map<i32, std::string> constant_names_;   // by constant, those that are read
  std::vector<bool> is_row_;                    // by value: [R,..], not [T,..]
  std::map<i32, std::string> values_;           // by value: its name where the text is now
  const Run* run_ = nullptr;                    // the loop being written
  std::size_t attention_ = 0;                   // of the loop's body
  std::string text_;
};

void Writer::find_rows() {
  is_row_.resize(draft_.widths.size());
  for (const Step& step : draft_.steps) {
    bool is_row = step.is("gather");
    for (const Ref& ref : step.in)
      if (ref.kind == Ref::Kind::kValue) is_row = is_row || is_row_[at(ref.index)];
    if (step.out >= 0) is_row_[at(step.out)] = is_row;
  }
}

// Weights that several layers or none read have a symbol each; those of layers share one by role.
void Writer::place_weights() {
  for (const Run& run : layers_.runs) place(run);
  for (const Step& step : draft_.steps) {
    for (const Ref& ref : step.in) {
      if (ref.kind != Ref::Kind::kWeight || places_.contains(ref.index)) continue;
      places_[ref.index] = {.symbol = symbols_.size()};
      symbols_.push_back(
          {names_.take(role_of(weights_[at(ref.index)].source)), false, {ref.index}});
    }
  }
}

void Writer::place(const Run& run) {
  const Block& first = layers_.blocks[run.first];
  for (std::size_t slot = 0; slot < first.weights.size(); ++slot) {
    const Weight& sample = weights_[at(first.weights[slot])];
    std::string role = role_of(sample.source);
    // A role of several codecs has a symbol for each, whose names tell them apart.
    std::string make =
        fmt::format("{} {}{}", role, isa::info(sample.codec).name, dims_text(sample.dims));
    std::pair<std::map<std::string, std::size_t>::iterator, bool> known =
        layered_.emplace(make, symbols_.size());
    if (known.second) symbols_.push_back({names_.take(role), true, {}});
    std::size_t index = known.first->second;
    for (std::size_t b = run.first; b < run.first + run.count; ++b) {
      i32 weight = layers_.blocks[b].weights[slot];
      places_[weight] = {index, static_cast<i64>(symbols_[index].weights.size())};
      symbols_[index].weights.push_back(weight);
    }
  }
}

void Writer::name_constants() {
  for (const Step& step : draft_.steps)
    for (const Ref& ref : step.in)
      if (ref.kind == Ref::Kind::kConstant && !constant_names_.contains(ref.index))
        constant_names_[ref.index] = names_.take(draft_.constants[at(ref.index)].name);
}

void Writer::declarations(i64 context) {
  const isa::Bounds& b = options_.bounds;
  const CacheShape& kv = draft_.cache;
  text_ += ".tgp least profile=TEXT\n";
  text_ += fmt::format(".dim T<={} S<={} R<={} C<={}\n", b.tokens, b.sequences, b.rows, context);
  text_ +=
      fmt::format(".kv $kv layers={} heads={} dk={} dv={} fmt={} page={}\n", kv.layers, kv.heads,
                  kv.width, kv.width, isa::info(options_.kv_format).name, options_.kv_page_tokens);
  for (const Symbol& symbol : symbols_) {
    const Weight& w = weights_[at(symbol.weights[0])];
    std::string layers = symbol.is_layered ? fmt::format("[{}]", symbol.weights.size()) : "";
    text_ += fmt::format(".w ${}{} {}{}\n", symbol.name, layers, isa::info(w.codec).name,
                         dims_text(w.dims));
  }
  for (const std::pair<const i32, std::string>& entry : constant_names_) {
    const std::vector<f32>& values = draft_.constants[at(entry.first)].values;
    text_ += fmt::format(".const ${} f32[{}] =", entry.second, values.size());
    for (f32 value : values) text_ += fmt::format(" {:#010x}", std::bit_cast<u32>(value));
    text_ += '\n';
  }
}

void Writer::straight(std::size_t first, std::size_t last) {
  for (std::size_t i = first; i < last; ++i) {
    const Step& step = draft_.steps[i];
    if (step.out >= 0) values_[step.out] = result_name(step.out);
    line(step, step.out >= 0 ? values_[step.out] : "");
  }
}

void Writer::loop(std::size_t index, const Run& run) {
  const Block& first = layers_.blocks[run.first];
  const Block& last = layers_.blocks[run.first + run.count - 1];
  std::vector<std::string> finals;
  std::vector<std::string> carries;
  for (std::size_t i = 0; i < first.live_in.size(); ++i) {
    std::string inside = fmt::format("%c{}_{}", index, i);
    finals.push_back(fmt::format("%x{}_{}", index, i));
    carries.push_back(fmt::format("{} as {}", values_[first.live_in[i]], inside));
    values_[first.live_in[i]] = inside;
  }
  text_ += fmt::format("  {} = repeat l {} carry {}\n", fmt::join(finals, ", "), run.count,
                       fmt::join(carries, ", "));
  run_ = &run;
  attention_ = 0;
  for (std::size_t i = first.first; i < first.last; ++i) {
    const Step& step = draft_.steps[i];
    if (step.out >= 0) values_[step.out] = fmt::format("%l{}_{}", index, i - first.first);
    line(step, step.out >= 0 ? values_[step.out] : "");
  }
  run_ = nullptr;
  std::vector<std::string> next;
  for (i32 value : first.live_out) next.push_back(values_[value]);
  text_ += fmt::format("  yield {}\n", fmt::join(next, ", "));
  for (std::size_t i = 0; i < last.live_out.size(); ++i) values_[last.live_out[i]] = finals[i];
}

// "  RESULT = OP OPERANDS {ATTRIBUTES} -> TYPE"
void Writer::line(const Step& step, const std::string& result) {
  std::vector<std::string> operands;
  for (const Ref& ref : step.in) operands.push_back(operand(ref));
  std::string braced = attributes(step);
  if (!braced.empty()) braced = " {" + braced + "}";
  text_ += "  ";
  if (!result.empty()) text_ += result + " = ";
  text_ +=
      fmt::format("{} {}{}", step.is("div") ? "ew" : step.op, fmt::join(operands, ", "), braced);
  if (!result.empty()) text_ += " -> " + type(step.out);
  text_ += '\n';
  if (step.window.has_value()) ++attention_;
}

std::string Writer::operand(const Ref& ref) const {
  bool loops = run_ != nullptr;
  // The loop's index is 0 in its first block, whose steps are the ones written.
  auto indexed = [&](i64 layer) {
    if (!loops) return fmt::format("[{}]", layer);
    return layer == 0 ? std::string("[l]") : fmt::format("[l+{}]", layer);
  };
  switch (ref.kind) {
    case Ref::Kind::kParameter: return std::string(ref.parameter);
    case Ref::Kind::kValue: return values_.at(ref.index);
    case Ref::Kind::kConstant: return "$" + constant_names_.at(ref.index);
    case Ref::Kind::kCache: return "$kv" + indexed(ref.index);
    case Ref::Kind::kWeight: break;
  }
  const Place& place = places_.at(ref.index);
  const Symbol& symbol = symbols_[place.symbol];
  return "$" + symbol.name + (symbol.is_layered ? indexed(place.layer) : "");
}

std::string Writer::attributes(const Step& step) const {
  if (step.is("div")) return fmt::format("code=(x0 {} div)", *step.number);
  if (step.is("mul") && step.number.has_value()) return fmt::format("alpha={}", *step.number);
  std::string out = step.attributes;
  if (step.is("linear") && step.in[1].kind == Ref::Kind::kWeight)
    out += model::product_attributes(weights_[at(step.in[1].index)].codec, options_);
  if (step.is("act") && step.number.has_value()) out += fmt::format(" softcap={}", *step.number);
  if (!step.window.has_value()) return out;
  std::vector<i64> windows = {*step.window};
  if (run_ != nullptr) {
    windows.clear();
    for (std::size_t b = run_->first; b < run_->first + run_->count; ++b)
      windows.push_back(layers_.blocks[b].windows[attention_]);
    windows = window_cycle(windows);
  }
  if (windows.size() > 1) return out + fmt::format(" window=cyc({})", fmt::join(windows, ","));
  return windows[0] > 0 ? out + fmt::format(" window={}", windows[0]) : out;
}

std::string Writer::type(i32 value) const {
  bool is_wide = value == draft_.logits || !options_.activations_bf16;
  return fmt::format("{}[{},{}]", is_wide ? "f32" : "bf16", is_row_[at(value)] ? "R" : "T",
                     draft_.widths[at(value)]);
}

}  // namespace

Result<Written> write(Draft draft, const std::vector<Weight>& weights,
                      const model::ImportOptions& options, i64 context) {
  if (draft.steps.size() > kStepsMax)
    return Error{Code::kLimit,
                 fmt::format("onnx: {} instructions, at most {}", draft.steps.size(), kStepsMax)};
  std::size_t tail = tidy(draft);
  return Writer(draft, tail, weights, options).write(context);
}

}  // namespace tg::onnx
