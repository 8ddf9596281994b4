#include "backend/step_check.h"

#include <algorithm>
#include <string>

#include "backend/param_block.h"
#include "base/assert.h"

namespace tg::backend {

namespace {

using isa::Opcode;
using isa::OperandKind;

constexpr IndexParameter kParameters[] = {IndexParameter::kIds, IndexParameter::kPositions,
                                          IndexParameter::kRows};
constexpr const char* kNames[] = {"ids", "positions", "rows"};

Error trap(std::string text) {
  return Error{Code::kInvalid, "step: " + std::move(text)};
}

std::string at(const char* field, std::size_t i, i64 value) {
  return std::string(field) + "[" + std::to_string(i) + "] = " + std::to_string(value);
}

i64 size(std::span<const i32> span) {
  return static_cast<i64>(span.size());
}

Status need_size(const char* field, std::span<const i32> span, i64 expected) {
  if (size(span) == expected) return {};
  return trap(std::string(field) + " has " + std::to_string(span.size()) + " entries, not " +
              std::to_string(expected));
}

Status need_most(const char* what, i64 value, i64 most) {
  if (value <= most) return {};
  return trap(std::to_string(value) + " " + what + ", at most " + std::to_string(most));
}

// A cumulative array: from 0, never down, to `total`.
Status need_cumulative(const char* field, std::span<const i32> sums, i64 total) {
  if (sums[0] != 0) return trap(at(field, 0, sums[0]) + " is not 0");
  for (std::size_t i = 1; i < sums.size(); ++i) {
    if (sums[i] < sums[i - 1]) return trap(at(field, i, sums[i]) + " goes down");
  }
  if (sums.back() != total) {
    return trap(at(field, sums.size() - 1, sums.back()) + " is not " + std::to_string(total));
  }
  return {};
}

std::optional<IndexParameter> parameter_of(const isa::FlatProgram& flat, u32 value) {
  std::size_t tensors = 0;
  for (u32 parameter : flat.parameters) {
    if (flat.values[parameter].kind != isa::ValueKind::kTensor) continue;
    if (parameter == value && tensors < std::size(kParameters)) return kParameters[tensors];
    ++tensors;
  }
  return std::nullopt;
}

// ids i32[T], pos i32[T] or i32[n,T], rows i32[R].
bool is_parameter(const isa::Type& type, std::size_t place) {
  constexpr isa::Dim kLast[] = {{.t = 1}, {.t = 1}, {.r = 1}};
  bool is_matrix = place == 1 && type.dims.size() == 2;
  return place < std::size(kLast) && type.dtype == isa::DType::kI32 &&
         (type.dims.size() == 1 || is_matrix) && type.dims.back() == kLast[place];
}

Status check_parameters(const isa::FlatProgram& flat, StepRules& rules) {
  std::size_t tensors = 0;
  for (u32 parameter : flat.parameters) {
    const isa::Type& type = flat.values[parameter];
    if (type.kind == isa::ValueKind::kParams) rules.takes_samples = true;
    if (type.kind != isa::ValueKind::kTensor) continue;
    if (!is_parameter(type, tensors)) {
      return Error{Code::kUnsupported, "executor: " + flat.function +
                                           "'s parameters are not ids i32[T], pos i32[T] or "
                                           "i32[n,T], rows i32[R], batch, params"};
    }
    if (tensors == 1 && type.dims.size() == 2) rules.position_rows = type.dims[0].constant;
    ++tensors;
  }
  return {};
}

Status add_index_bound(const isa::Program& program, const isa::FlatProgram& flat,
                       const isa::FlatInstruction& op, StepRules& rules) {
  std::optional<IndexParameter> parameter = parameter_of(flat, op.in[1].index);
  if (op.in[1].kind != OperandKind::kValue || !parameter) {
    return Error{Code::kUnsupported, "executor: " + std::string(isa::name(op.op)) +
                                         " takes indices that are not a parameter of " +
                                         flat.function};
  }
  isa::Dim bound = op.op == Opcode::kEmbed
                       ? isa::Dim{.constant = program.weights[op.in[0].index].dims[0]}
                       : flat.values[op.in[0].index].dims[0];
  rules.bounds.push_back({.parameter = *parameter, .bound = bound});
  return {};
}

bool has_samples(Opcode op) {
  return op == Opcode::kLogits || op == Opcode::kSample || op == Opcode::kSpecVerify;
}

// A proposal is looked up in a row of scores, as ids and rows of the step.
void add_proposal_bounds(const isa::FlatProgram& flat, const isa::FlatInstruction& op,
                         StepRules& rules) {
  if (op.op != Opcode::kSpecVerify) return;
  const isa::Dim& vocabulary = flat.values[op.in[0].index].dims[1];
  rules.bounds.push_back({.parameter = IndexParameter::kIds, .bound = vocabulary});
  rules.bounds.push_back({.parameter = IndexParameter::kRows, .bound = {.t = 1}});
  rules.has_proposals = true;
  isa::VerifyMode mode = static_cast<isa::VerifyMode>(op.word(isa::AttributeKey::kMode));
  rules.has_chains = rules.has_chains || mode == isa::VerifyMode::kRejection;
}

Status add_function(const isa::Program& program, const isa::Function& function,
                    const isa::FlatProgram& flat, StepRules& rules) {
  TG_TRY(check_parameters(flat, rules));
  for (const isa::FlatInstruction& op : flat.code) {
    if (op.op == Opcode::kEmbed || op.op == Opcode::kGather) {
      TG_TRY(add_index_bound(program, flat, op, rules));
    }
    if (has_samples(op.op)) {
      i64 columns = flat.values[op.in[0].index].dims.back().constant;
      rules.vocabulary = rules.vocabulary == 0 ? columns : std::min(rules.vocabulary, columns);
      add_proposal_bounds(flat, op, rules);
    }
    bool is_dense = op.op == Opcode::kAttnDense && !function.when_fresh;
    if (is_dense && flat.values[op.in[0].index].dims[0].t > 0) rules.is_uncached = true;
  }
  return {};
}

}  // namespace

Result<StepRules> step_rules(const isa::VerifiedProgram& program) {
  StepRules rules;
  for (const isa::Function& function : program.program().functions) {
    TG_ASSIGN(isa::FlatProgram flat, program.flatten(function.name));
    TG_TRY(add_function(program.program(), function, flat, rules));
  }
  return rules;
}

StepChecker::StepChecker(const ExecutorLimits& limits, i64 page_tokens, StepRules rules)
    : limits_(limits),
      page_tokens_(page_tokens),
      rules_(std::move(rules)),
      slot_taken_(static_cast<std::size_t>(limits.kv_pages * page_tokens), false),
      last_row_(static_cast<std::size_t>(limits.sequences_max)) {}

Status StepChecker::check(const StepBatch& batch) {
  TG_TRY(check_sizes(batch));
  TG_TRY(check_sequences(batch));
  TG_TRY(check_indices(batch));
  TG_TRY(check_tree(batch));
  TG_TRY(check_samples(batch));
  TG_TRY(check_proposals(batch));
  if (page_tokens_ == 0) return {};
  TG_TRY(check_pages(batch));
  return check_slots(batch);
}

Status StepChecker::check_sizes(const StepBatch& batch) const {
  i64 tokens = size(batch.ids);
  i64 sequences = size(batch.past);
  TG_TRY(need_most("tokens", tokens, limits_.tokens_max));
  TG_TRY(need_most("sequences", sequences, limits_.sequences_max));
  TG_TRY(need_most("rows", size(batch.rows), limits_.rows_max));
  TG_TRY(need_size("positions", batch.positions, tokens * rules_.position_rows));
  if (!batch.tree.empty()) TG_TRY(need_size("tree", batch.tree, tokens));
  TG_TRY(need_size("slots", batch.slots, tokens));
  TG_TRY(need_size("cu", batch.cu, sequences + 1));
  return need_size("page_begin", batch.page_begin, sequences + 1);
}

Status StepChecker::check_sequences(const StepBatch& batch) const {
  TG_TRY(need_cumulative("cu", batch.cu, size(batch.ids)));
  for (std::size_t s = 0; s < batch.past.size(); ++s) {
    if (batch.past[s] < 0) return trap(at("past", s, batch.past[s]) + " is negative");
    if (rules_.is_uncached && batch.past[s] > 0) {
      return trap(at("past", s, batch.past[s]) + ", but the program has attention without a cache");
    }
    i64 keys = i64{batch.past[s]} + batch.cu[s + 1] - batch.cu[s];
    if (keys > limits_.context_max) {
      return trap("sequence " + std::to_string(s) + " has " + std::to_string(keys) +
                  " keys, at most " + std::to_string(limits_.context_max));
    }
  }
  for (std::size_t t = 0; t < batch.positions.size(); ++t) {
    if (batch.positions[t] < 0 || batch.positions[t] >= limits_.context_max) {
      return trap(at("positions", t, batch.positions[t]) + " is not in [0, " +
                  std::to_string(limits_.context_max) + ")");
    }
  }
  return {};
}

Status StepChecker::check_indices(const StepBatch& batch) const {
  const std::span<const i32> values[] = {batch.ids, batch.positions, batch.rows};
  for (const IndexBound& bound : rules_.bounds) {
    std::size_t parameter = static_cast<std::size_t>(bound.parameter);
    i64 limit = bound.bound.constant + bound.bound.t * size(batch.ids) +
                bound.bound.s * size(batch.past) + bound.bound.r * size(batch.rows);
    for (std::size_t i = 0; i < values[parameter].size(); ++i) {
      i64 value = values[parameter][i];
      if (value >= 0 && value < limit) continue;
      return trap(at(kNames[parameter], i, value) + " is not in [0, " + std::to_string(limit) +
                  ")");
    }
  }
  return {};
}

// A token's parent is an earlier new token of its sequence.
Status StepChecker::check_tree(const StepBatch& batch) const {
  if (batch.tree.empty()) return {};
  for (std::size_t s = 0; s < batch.past.size(); ++s) {
    for (i32 t = batch.cu[s]; t < batch.cu[s + 1]; ++t) {
      i32 parent = batch.tree[static_cast<std::size_t>(t)];
      if (parent >= -1 && parent < t - batch.cu[s]) continue;
      return trap(at("tree", static_cast<std::size_t>(t), parent) + " is not in [-1, " +
                  std::to_string(t - batch.cu[s]) + ")");
    }
  }
  return {};
}

Status StepChecker::check_ids(const char* field, std::size_t row, std::span<const i32> ids) const {
  for (i32 id : ids) {
    if (id >= 0 && id < rules_.vocabulary) continue;
    return trap("samples[" + std::to_string(row) + "]." + field + " holds token " +
                std::to_string(id) + " of " + std::to_string(rules_.vocabulary));
  }
  return {};
}

Status StepChecker::check_samples(const StepBatch& batch) const {
  if (!rules_.takes_samples) return {};
  if (batch.samples.size() != batch.rows.size()) {
    return trap("samples has " + std::to_string(batch.samples.size()) + " entries, not " +
                std::to_string(batch.rows.size()));
  }
  i64 words = 0;
  for (std::size_t r = 0; r < batch.samples.size(); ++r) {
    const isa::SampleRow& row = batch.samples[r];
    TG_TRY(check_ids("prompt", r, row.prompt));
    TG_TRY(check_ids("output", r, row.output));
    for (const std::pair<i32, f32>& bias : row.params.logit_bias) {
      TG_TRY(check_ids("bias", r, std::span(&bias.first, 1)));
    }
    i64 bits = static_cast<i64>(row.allowed.size()) * 64;
    if (bits > 0 && bits < rules_.vocabulary) {
      return trap("samples[" + std::to_string(r) + "].allowed has " + std::to_string(bits) +
                  " bits for " + std::to_string(rules_.vocabulary) + " tokens");
    }
    words += sample_words(row);
  }
  return need_most("words of sampling parameters", words, limits_.sample_words_max);
}

namespace {

// The sequence of a token. REQUIRES: cu was checked.
std::size_t sequence_of(const StepBatch& batch, i32 token) {
  std::span<const i32>::iterator after = std::upper_bound(batch.cu.begin(), batch.cu.end(), token);
  return static_cast<std::size_t>(after - batch.cu.begin() - 1);
}

// Whether one of the rows before row r is `token`'s.
bool has_row_before(const StepBatch& batch, std::size_t r, i32 token) {
  std::span<const i32> before = batch.rows.first(r);
  return std::find(before.begin(), before.end(), token) != before.end();
}

}  // namespace

Status StepChecker::check_proposals(const StepBatch& batch) {
  if (!rules_.has_proposals || batch.tree.empty()) return {};
  std::fill(last_row_.begin(), last_row_.end(), -1);
  for (std::size_t r = 0; r < batch.rows.size(); ++r) {
    i32 token = batch.rows[r];
    std::size_t sequence = sequence_of(batch, token);
    i32 last = last_row_[sequence];
    last_row_[sequence] = token;
    i32 parent = batch.tree[static_cast<std::size_t>(token)];
    if (last < 0 || parent < 0) continue;
    i32 wanted = batch.cu[sequence] + parent;
    if (rules_.has_chains ? wanted != last : !has_row_before(batch, r, wanted)) {
      return trap(at("rows", r, token) + ": the parent, token " + std::to_string(wanted) +
                  (rules_.has_chains ? ", is not the row before" : ", has no row"));
    }
  }
  return {};
}

Status StepChecker::check_pages(const StepBatch& batch) const {
  TG_TRY(need_cumulative("page_begin", batch.page_begin, size(batch.pages)));
  i64 pages_max = (limits_.context_max + page_tokens_ - 1) / page_tokens_;
  for (std::size_t s = 0; s < batch.past.size(); ++s) {
    i64 keys = i64{batch.past[s]} + batch.cu[s + 1] - batch.cu[s];
    i64 pages = batch.page_begin[s + 1] - batch.page_begin[s];
    if (pages > pages_max || pages * page_tokens_ < keys) {
      return trap("sequence " + std::to_string(s) + " has " + std::to_string(pages) +
                  " pages for " + std::to_string(keys) + " keys");
    }
  }
  for (std::size_t i = 0; i < batch.pages.size(); ++i) {
    if (batch.pages[i] < 0 || batch.pages[i] >= limits_.kv_pages) {
      return trap(at("pages", i, batch.pages[i]) + " is not in [0, " +
                  std::to_string(limits_.kv_pages) + ")");
    }
  }
  return {};
}

Status StepChecker::check_slots(const StepBatch& batch) {
  Status status;
  std::size_t seen = 0;
  for (; seen < batch.slots.size(); ++seen) {
    i64 slot = batch.slots[seen];
    if (slot == -1) continue;
    if (slot < 0 || slot >= static_cast<i64>(slot_taken_.size())) {
      status = trap(at("slots", seen, slot) + " is not in [-1, " +
                    std::to_string(slot_taken_.size()) + ")");
      break;
    }
    if (slot_taken_[static_cast<std::size_t>(slot)]) {
      status = trap(at("slots", seen, slot) + " is written twice");
      break;
    }
    slot_taken_[static_cast<std::size_t>(slot)] = true;
  }
  for (std::size_t i = 0; i < seen; ++i) {
    if (batch.slots[i] >= 0) slot_taken_[static_cast<std::size_t>(batch.slots[i])] = false;
  }
  return status;
}

}  // namespace tg::backend
