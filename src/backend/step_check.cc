#include "backend/step_check.h"

#include <string>

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

Status check_parameters(const isa::FlatProgram& flat) {
  constexpr isa::Dim kDims[] = {{.t = 1}, {.t = 1}, {.r = 1}};
  std::size_t tensors = 0;
  for (u32 parameter : flat.parameters) {
    const isa::Type& type = flat.values[parameter];
    if (type.kind == isa::ValueKind::kBatch) continue;
    if (type.kind != isa::ValueKind::kTensor || tensors == std::size(kDims) ||
        type.dtype != isa::DType::kI32 || type.dims.size() != 1 || type.dims[0] != kDims[tensors]) {
      return Error{
          Code::kUnsupported,
          "executor: main's parameters are not ids i32[T], pos i32[T], rows i32[R], batch"};
    }
    ++tensors;
  }
  return {};
}

}  // namespace

Result<std::vector<IndexBound>> index_bounds(const isa::Program& program,
                                             const isa::FlatProgram& flat) {
  TG_TRY(check_parameters(flat));
  std::vector<IndexBound> bounds;
  for (const isa::FlatInstruction& op : flat.code) {
    if (op.op != Opcode::kEmbed && op.op != Opcode::kGather) continue;
    std::optional<IndexParameter> parameter = parameter_of(flat, op.in[1].index);
    if (op.in[1].kind != OperandKind::kValue || !parameter) {
      return Error{Code::kUnsupported, "executor: " + std::string(isa::name(op.op)) +
                                           " takes indices that are not a parameter of main"};
    }
    isa::Dim bound = op.op == Opcode::kEmbed
                         ? isa::Dim{.constant = program.weights[op.in[0].index].dims[0]}
                         : flat.values[op.in[0].index].dims[0];
    bounds.push_back({.parameter = *parameter, .bound = bound});
  }
  return bounds;
}

StepChecker::StepChecker(const ExecutorLimits& limits, i64 page_tokens,
                         std::vector<IndexBound> bounds)
    : limits_(limits),
      page_tokens_(page_tokens),
      bounds_(std::move(bounds)),
      slot_taken_(static_cast<std::size_t>(limits.kv_pages * page_tokens), false) {}

Status StepChecker::check(const StepBatch& batch) {
  TG_TRY(check_sizes(batch));
  TG_TRY(check_sequences(batch));
  TG_TRY(check_indices(batch));
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
  TG_TRY(need_size("positions", batch.positions, tokens));
  TG_TRY(need_size("slots", batch.slots, tokens));
  TG_TRY(need_size("cu", batch.cu, sequences + 1));
  return need_size("page_begin", batch.page_begin, sequences + 1);
}

Status StepChecker::check_sequences(const StepBatch& batch) const {
  TG_TRY(need_cumulative("cu", batch.cu, size(batch.ids)));
  for (std::size_t s = 0; s < batch.past.size(); ++s) {
    if (batch.past[s] < 0) return trap(at("past", s, batch.past[s]) + " is negative");
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
  for (const IndexBound& bound : bounds_) {
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
