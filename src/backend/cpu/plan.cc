#include "backend/cpu/plan.h"

#include <algorithm>
#include <bit>
#include <map>

#include "backend/cpu/scratch.h"
#include "backend/cpu/tensor.h"
#include "backend/weight_uses.h"
#include "base/assert.h"
#include "isa/codec.h"

namespace tg::backend::cpu {

namespace {

using isa::Opcode;
using isa::OperandKind;

i64 bytes_of(const isa::Type& type, const PlanLimits& limits) {
  if (type.kind == isa::ValueKind::kPerm) {
    return aligned(perm_layout(type, limits.tokens).words() * 4);
  }
  i64 elements = 1;
  for (const isa::Dim& dim : type.dims) {
    elements *= evaluate(dim, limits.tokens, limits.sequences, limits.rows);
  }
  return aligned(elements * 4);
}

// First fit over the bytes that no living value holds.
class Arena {
 public:
  i64 take(i64 bytes) {
    for (std::map<i64, i64>::iterator hole = holes_.begin(); hole != holes_.end(); ++hole) {
      if (hole->second < bytes) continue;
      i64 offset = hole->first;
      i64 rest = hole->second - bytes;
      holes_.erase(hole);
      if (rest > 0) holes_.emplace(offset + bytes, rest);
      return offset;
    }
    i64 offset = size_;
    size_ += bytes;
    return offset;
  }

  void give_back(i64 offset, i64 bytes) {
    std::map<i64, i64>::iterator next = holes_.lower_bound(offset);
    if (next != holes_.end() && offset + bytes == next->first) {
      bytes += next->second;
      next = holes_.erase(next);
    }
    if (next != holes_.begin()) {
      std::map<i64, i64>::iterator before = std::prev(next);
      if (before->first + before->second == offset) {
        before->second += bytes;
        return;
      }
    }
    holes_.emplace(offset, bytes);
  }

  i64 size() const { return size_; }

 private:
  std::map<i64, i64> holes_;  // offset -> bytes, never adjacent
  i64 size_ = 0;
};

Error unsupported(std::string what) {
  return Error{Code::kUnsupported, "cpu: " + std::move(what)};
}

bool is_stored(const isa::Type& type) {
  switch (type.dtype) {
    case isa::DType::kF32:
    case isa::DType::kF16:
    case isa::DType::kBf16:
    case isa::DType::kI32: return true;
    default: return false;
  }
}

// The entry's parameters are ids, positions, rows, the batch and perhaps sampling parameters.
Status place_parameters(Plan& plan) {
  constexpr Home kHomes[] = {Home::kIds, Home::kPositions, Home::kRows};
  std::size_t tensors = 0;
  for (u32 value : plan.flat.parameters) {
    const isa::Type& type = plan.flat.values[value];
    if (type.kind == isa::ValueKind::kBatch || type.kind == isa::ValueKind::kParams) continue;
    if (type.kind != isa::ValueKind::kTensor || tensors == std::size(kHomes)) {
      return unsupported(plan.flat.function +
                         " takes a tensor besides ids, positions and rows (profile VISION)");
    }
    plan.places[value].home = kHomes[tensors++];
  }
  return {};
}

// A view of everything is where its operand is, unless the host looks for it elsewhere.
bool can_alias(const Plan& plan, const isa::FlatInstruction& op) {
  if (op.op != Opcode::kView || op.in[0].kind != OperandKind::kValue) return false;
  const isa::Type& from = plan.flat.values[op.in[0].index];
  const isa::Type& to = plan.flat.values[op.out[0]];
  return plan.places[op.in[0].index].home == Home::kActivations &&
         plan.places[op.out[0]].home == Home::kActivations && from.dtype == to.dtype &&
         bytes_of(from, plan.limits) == bytes_of(to, plan.limits) &&
         resolve_attributes(op).offset == 0;
}

// Walks the code once, giving each result a place and taking it back after the last reader.
class Placer {
 public:
  explicit Placer(Plan& plan) : plan_(plan), root_(plan.flat.values.size()) {
    for (std::size_t i = 0; i < root_.size(); ++i) root_[i] = static_cast<u32>(i);
    last_use_.resize(root_.size(), -1);
  }

  void place_all() {
    reserve_tables();
    find_aliases_and_last_uses();
    for (std::size_t i = 0; i < plan_.flat.code.size(); ++i) place_op(static_cast<i64>(i));
    plan_.activation_bytes = arena_.size();
  }

 private:
  void reserve_tables() {
    for (RopeTable& table : plan_.tables) {
      const isa::Dim& tokens = plan_.flat.values[table.positions.index].dims.back();
      i64 rows = evaluate(tokens, plan_.limits.tokens, plan_.limits.sequences, plan_.limits.rows);
      table.offset = arena_.take(aligned(rows * table.half * 8));
    }
  }

  void find_aliases_and_last_uses() {
    for (std::size_t i = 0; i < plan_.flat.code.size(); ++i) {
      const isa::FlatInstruction& op = plan_.flat.code[i];
      for (u32 value : op.out) mark_activation(value);
      if (can_alias(plan_, op)) {
        plan_.ops[i].is_alias = true;
        root_[op.out[0]] = root_[op.in[0].index];
      }
      for (const isa::FlatOperand& operand : op.in) {
        if (operand.kind == OperandKind::kValue) {
          last_use_[root_[operand.index]] = static_cast<i64>(i);
        }
      }
    }
  }

  void mark_activation(u32 value) {
    Place& place = plan_.places[value];
    if (place.home == Home::kNone) place.home = Home::kActivations;
  }

  void place_op(i64 index) {
    const isa::FlatInstruction& op = plan_.flat.code[static_cast<std::size_t>(index)];
    for (u32 value : op.out) {
      Place& place = plan_.places[value];
      if (root_[value] != value) {
        place.offset = plan_.places[root_[value]].offset;
      } else if (place.home == Home::kActivations) {
        place.offset = arena_.take(bytes(value));
      }
    }
    for (u32 value : op.out) release(value, index);
    for (const isa::FlatOperand& operand : op.in) {
      if (operand.kind == OperandKind::kValue) release(root_[operand.index], index);
    }
  }

  // After its last reader; a value nobody reads, at once.
  void release(u32 value, i64 index) {
    if (root_[value] != value || last_use_[value] > index || last_use_[value] == kReleased) return;
    if (plan_.places[value].home != Home::kActivations) return;
    arena_.give_back(plan_.places[value].offset, bytes(value));
    last_use_[value] = kReleased;
  }

  i64 bytes(u32 value) const { return bytes_of(plan_.flat.values[value], plan_.limits) + kStagger; }

  // Limits are powers of two: without it, the few rows that a small step has of each value would
  // all lie in the same sets of a cache, and loads would wait for stores 4 KiB apart. 17 lines put
  // the next value behind one of 256 channels.
  static constexpr i64 kStagger = 17 * kAlignment;
  static constexpr i64 kReleased = -2;
  Plan& plan_;
  Arena arena_;
  std::vector<u32> root_;      // the value whose memory a value lives in
  std::vector<i64> last_use_;  // by root
};

bool same_source(const isa::FlatOperand& a, const isa::FlatOperand& b) {
  return a.kind == b.kind && a.index == b.index && a.layer == b.layer;
}

bool same_table(const RopeTable& a, const RopeTable& b) {
  return same_source(a.positions, b.positions) && same_source(a.frequencies, b.frequencies) &&
         a.row == b.row && a.mscale == b.mscale && a.sections == b.sections && a.half == b.half;
}

void plan_rope_tables(Plan& plan) {
  for (std::size_t i = 0; i < plan.flat.code.size(); ++i) {
    const isa::FlatInstruction& op = plan.flat.code[i];
    if (op.op != Opcode::kRope) continue;
    OpAttributes attributes = resolve_attributes(op);
    RopeTable table{.positions = op.in[1],
                    .frequencies = op.in[2],
                    .row = attributes.table,
                    .mscale = attributes.mscale,
                    .half = attributes.rot / 2};
    if (attributes.style == isa::RopeStyle::kMrope) {
      table.sections.assign(attributes.sections.begin(), attributes.sections.end());
    }
    std::size_t found = 0;
    while (found < plan.tables.size() && !same_table(plan.tables[found], table)) ++found;
    plan.ops[i].fills_table = found == plan.tables.size();
    if (plan.ops[i].fills_table) plan.tables.push_back(table);
    plan.ops[i].rope_table = static_cast<i32>(found);
  }
}

// The counts of distinct experts are behind the results.
void number_routes(Plan& plan) {
  for (std::size_t i = 0; i < plan.flat.code.size(); ++i) {
    if (plan.flat.code[i].op == Opcode::kRoute) plan.ops[i].route = static_cast<i32>(plan.routes++);
  }
  plan.routes_offset = plan.output_bytes;
  plan.output_bytes += aligned(plan.routes * 4);
}

void make_segments(Plan& plan) {
  plan.op_indices.resize(plan.flat.code.size());
  for (std::size_t i = 0; i < plan.flat.code.size(); ++i) {
    const isa::FlatInstruction& op = plan.flat.code[i];
    plan.op_indices[i] = static_cast<u32>(i);
    i64 scratch = scratch_of(plan, op).bytes();
    plan.workspace_bytes = std::max(plan.workspace_bytes, scratch);
    plan.segments.push_back(tg_segment{.size = sizeof(tg_segment),
                                       .n_ops = 1,
                                       .ops = &plan.op_indices[i],
                                       .name = isa::name(op.op).data(),
                                       .workspace = static_cast<u64>(scratch)});
  }
}

void read_constants(Plan& plan) {
  for (const isa::ConstDecl& constant : plan.program.program().constants) {
    i64 elements = 1;
    for (i64 dim : constant.dims) elements *= dim;
    std::vector<f32>& values = plan.constants.emplace_back(static_cast<std::size_t>(elements));
    isa::dequantize_row(constant.dtype, constant.bytes, values);
  }
}

Status check_types(const Plan& plan) {
  for (const isa::FlatInstruction& op : plan.flat.code) {
    for (u32 value : op.out) {
      if (plan.flat.values[value].kind == isa::ValueKind::kPerm) continue;
      if (is_stored(plan.flat.values[value])) continue;
      return unsupported(std::string(isa::name(op.op)) + " gives " +
                         std::string(isa::info(plan.flat.values[value].dtype).name));
    }
  }
  return {};
}

}  // namespace

i64 evaluate(const isa::Dim& dim, i64 tokens, i64 sequences, i64 rows) {
  return dim.constant + dim.t * tokens + dim.s * sequences + dim.r * rows;
}

PermLayout perm_layout(const isa::Type& perm, i64 tokens) {
  TG_ASSERT(perm.kind == isa::ValueKind::kPerm && perm.dims.size() == 3);
  return {.rows = tokens * perm.dims[1].constant, .experts = perm.dims[2].constant};
}

Result<Plan> make_plan(std::span<const u8> bytes, const char* function, const PlanLimits& limits) {
  TG_ASSERT(limits.threads >= 1);
  TG_ASSIGN(isa::VerifiedProgram program, isa::load(bytes));
  Plan plan(std::move(program));
  plan.limits = limits;
  TG_ASSIGN(plan.flat, plan.program.flatten(function));
  plan.places.resize(plan.flat.values.size());
  plan.ops.resize(plan.flat.code.size());
  TG_TRY(check_types(plan));
  TG_TRY(place_parameters(plan));
  for (u32 value : plan.flat.results) {
    if (plan.places[value].home != Home::kNone)
      return unsupported(plan.flat.function + " returns a parameter, or a value twice");
    plan.places[value] = {.home = Home::kOutput, .offset = plan.output_bytes};
    plan.output_bytes += bytes_of(plan.flat.values[value], limits);
  }
  number_routes(plan);
  TG_ASSIGN(plan.uses, weight_uses(plan.program));
  plan_rope_tables(plan);
  read_constants(plan);
  Placer(plan).place_all();
  make_segments(plan);
  return plan;
}

}  // namespace tg::backend::cpu
