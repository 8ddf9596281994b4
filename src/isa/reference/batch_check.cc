#include "isa/reference/batch_check.h"

#include <algorithm>
#include <set>
#include <string>

#include "isa/reference/step.h"

namespace tg::isa {

namespace {

bool has_pages(const Program& program) {
  return std::any_of(program.kv.begin(), program.kv.end(),
                     [](const KvDecl& decl) { return !decl.is_state; });
}

// Rows of positions: one per section of mrope.
std::size_t position_rows(const Program& program) {
  const Function& main = program.functions[0];
  const Type& type = main.value_types[main.parameters[1]];
  return type.dims.size() == 1 ? 1 : static_cast<std::size_t>(type.dims[0].constant);
}

// Parameters after the batch: params, tensors.
struct Inputs {
  bool params = false;
  std::size_t tensors = 0;
};

Inputs inputs_of(const Program& program) {
  const Function& main = program.functions[0];
  Inputs inputs{.params = false, .tensors = main.parameters.size() - 4};
  if (inputs.tensors == 0) return inputs;
  inputs.params = main.value_types[main.parameters[4]].kind == ValueKind::kParams;
  if (inputs.params) --inputs.tensors;
  return inputs;
}

Status check_sizes(const ReferenceBatch& b, const Program& program) {
  std::size_t tokens = b.ids.size();
  std::size_t sequences = b.past.size();
  Inputs inputs = inputs_of(program);
  bool good = b.positions.size() == tokens * position_rows(program) &&
              b.cu.size() == sequences + 1 && b.extra.size() == inputs.tensors;
  if (has_pages(program)) {
    good &= b.slots.size() == tokens && b.page_begin.size() == sequences + 1;
  }
  good &= b.tree.empty() || b.tree.size() == tokens;
  good &= b.states.empty() || b.states.size() == sequences;
  good &= !inputs.params || b.params.size() == b.rows.size();
  if (!good) return trap("the batch's arrays do not fit each other");
  if (static_cast<i64>(tokens) > program.bounds.tokens ||
      static_cast<i64>(sequences) > program.bounds.sequences ||
      static_cast<i64>(b.rows.size()) > program.bounds.rows)
    return trap("the step exceeds the program's bounds");
  return {};
}

Status check_offsets(std::string_view what, std::span<const i32> offsets, std::size_t total) {
  bool good = offsets.front() == 0 && static_cast<std::size_t>(offsets.back()) == total;
  for (std::size_t i = 1; i < offsets.size(); ++i) good &= offsets[i - 1] <= offsets[i];
  if (!good) return trap(std::string(what) + " is not a partition");
  return {};
}

// All in 0..limit, none twice; -1 names none.
Status check_distinct(std::string_view what, std::span<const i32> values, i64 limit,
                      bool allows_none) {
  std::set<i32> seen;
  for (i32 value : values) {
    if (value == -1 && allows_none) continue;
    std::string named = std::string(what) + " " + std::to_string(value);
    if (value < 0 || value >= limit) return trap(named + " of " + std::to_string(limit));
    if (!seen.insert(value).second) return trap(named + " twice");
  }
  return {};
}

Status check_context(const ReferenceBatch& b, i64 context) {
  for (std::size_t s = 0; s < b.past.size(); ++s) {
    i64 keys = i64{b.past[s]} + b.cu[s + 1] - b.cu[s];
    if (b.past[s] < 0 || keys > context)
      return trap("sequence " + std::to_string(s) + " needs " + std::to_string(keys) +
                  " keys, has room for " + std::to_string(context));
  }
  return {};
}

Status check_pages(const ReferenceBatch& b, const ReferenceKv& kv) {
  i64 page_tokens = kv.decl().page_tokens;
  for (i32 page : b.pages) {
    if (page < 0 || page >= kv.slots() / page_tokens)
      return trap("page " + std::to_string(page) + " of " +
                  std::to_string(kv.slots() / page_tokens));
  }
  for (std::size_t s = 0; s < b.past.size(); ++s) {
    i64 keys = i64{b.past[s]} + b.cu[s + 1] - b.cu[s];
    i64 room = i64{b.page_begin[s + 1] - b.page_begin[s]} * page_tokens;
    if (keys > room)
      return trap("sequence " + std::to_string(s) + " needs " + std::to_string(keys) +
                  " keys, has room for " + std::to_string(room));
  }
  return {};
}

// A token's parent is an earlier new token of its sequence.
Status check_tree(const ReferenceBatch& b) {
  if (b.tree.empty()) return {};
  for (std::size_t s = 0; s < b.past.size(); ++s) {
    for (i32 t = b.cu[s]; t < b.cu[s + 1]; ++t) {
      i32 parent = b.tree[static_cast<std::size_t>(t)];
      if (parent < -1 || parent >= t - b.cu[s])
        return trap("token " + std::to_string(t) + " has parent " + std::to_string(parent));
    }
  }
  return {};
}

// Slots that `states` names, or 0..S.
Status check_states(const ReferenceBatch& b, std::span<const ReferenceState> states) {
  for (const ReferenceState& state : states) {
    if (!state.decl().is_state) continue;
    if (b.states.empty() && static_cast<i64>(b.past.size()) > state.slots())
      return trap(std::to_string(b.past.size()) + " sequences for " +
                  std::to_string(state.slots()) + " state slots");
    TG_TRY(check_distinct("state slot", b.states, state.slots(), false));
  }
  return {};
}

}  // namespace

Status check_batch(const ReferenceBatch& b, const Program& program,
                   std::span<const ReferenceKv> caches, std::span<const ReferenceState> states) {
  TG_TRY(check_sizes(b, program));
  TG_TRY(check_offsets("cu", b.cu, b.ids.size()));
  TG_TRY(check_context(b, program.bounds.context));
  TG_TRY(check_tree(b));
  TG_TRY(check_states(b, states));
  if (!has_pages(program)) return {};
  TG_TRY(check_offsets("page_begin", b.page_begin, b.pages.size()));
  for (const ReferenceKv& kv : caches) {
    if (kv.decl().is_state) continue;
    TG_TRY(check_distinct("slot", b.slots, kv.slots(), true));
    TG_TRY(check_pages(b, kv));
  }
  return {};
}

}  // namespace tg::isa
