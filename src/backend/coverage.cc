#include "backend/coverage.h"

#include <algorithm>
#include <map>
#include <string>
#include <vector>

namespace tg::backend {

namespace {

using isa::AttributeKey;
using isa::Opcode;
using isa::OperandKind;

// One op as a row would have to describe it.
struct Need {
  tg_row row{};
  u32 heads = 0;
  u32 width = 0;
};

u8 bit_of(u32 value) {
  return static_cast<u8>(1u << value);
}

void need_attention(const isa::KvDecl& kv, const isa::FlatInstruction& op, Need& need) {
  need.row.mask_bits = bit_of(op.word(AttributeKey::kMask));
  u32 flags = kv.latent > 0 ? TG_ROW_LATENT : 0;
  for (std::size_t i = 3; i < op.in.size(); ++i) {
    flags |= op.in[i].kind == OperandKind::kValue ? TG_ROW_SELECTED : TG_ROW_SINKS;
  }
  if (op.real(AttributeKey::kSoftcap) != 0) flags |= TG_ROW_SOFTCAP;
  if (op.word(AttributeKey::kWindow) != 0) flags |= TG_ROW_WINDOW;
  need.row.flags = static_cast<u16>(flags);
  need.heads = op.word(AttributeKey::kHeads);
  need.width = std::max(kv.dk, kv.dv);
}

void need_dense_attention(const isa::FlatProgram& flat, const isa::FlatInstruction& op,
                          Need& need) {
  need.row.mask_bits = bit_of(op.word(AttributeKey::kMask));
  u32 flags = 0;
  if (op.real(AttributeKey::kSoftcap) != 0) flags |= TG_ROW_SOFTCAP;
  if (op.word(AttributeKey::kWindow) != 0) flags |= TG_ROW_WINDOW;
  need.row.flags = static_cast<u16>(flags);
  need.heads = op.word(AttributeKey::kHeads);
  auto head_dim = [&](u32 value) {
    return static_cast<u32>(flat.values[value].dims[1].constant / need.heads);
  };
  need.width = std::max(head_dim(op.in[0].index), head_dim(op.out[0]));
}

void need_product(const isa::FlatInstruction& op, Need& need) {
  if (op.op != Opcode::kBmm) need.row.xq_bits = bit_of(op.word(AttributeKey::kXq));
  isa::DType acc = isa::DType::kF32;
  isa::Accumulate wanted = static_cast<isa::Accumulate>(op.word(AttributeKey::kAcc));
  if (wanted == isa::Accumulate::kI32) acc = isa::DType::kI32;
  if (wanted == isa::Accumulate::kF16Chunked) acc = isa::DType::kF16;
  need.row.acc = static_cast<u8>(acc);
}

Need need_of(const isa::Program& program, const isa::FlatProgram& flat,
             const isa::FlatInstruction& op) {
  Need need;
  need.row = {.op = static_cast<u16>(op.op),
              .op_version = isa::info(op.op).version,
              .x = TG_ANY,
              .w = TG_ANY,
              .acc = TG_ANY,
              .y = TG_ANY,
              .kv = TG_ANY};
  for (const isa::FlatOperand& operand : op.in) {
    if (operand.kind == OperandKind::kWeight && need.row.w == TG_ANY) {
      need.row.w = static_cast<u8>(program.weights[operand.index].codec);
    }
    if (operand.kind == OperandKind::kValue && need.row.x == TG_ANY) {
      need.row.x = static_cast<u8>(flat.values[operand.index].dtype);
    }
    if (operand.kind == OperandKind::kKv) {
      need.row.kv = static_cast<u8>(program.kv[operand.index].format);
    }
  }
  if (!op.out.empty()) need.row.y = static_cast<u8>(flat.values[op.out[0]].dtype);
  if (op.op == Opcode::kAttn) need_attention(program.kv[op.in[1].index], op, need);
  if (op.op == Opcode::kAttnDense) need_dense_attention(flat, op, need);
  if (op.op == Opcode::kLinear || op.op == Opcode::kGroupedLinear || op.op == Opcode::kBmm) {
    need_product(op, need);
  }
  return need;
}

bool matches(u8 has, u8 needs) {
  return has == TG_ANY || needs == TG_ANY || has == needs;
}
// Sums in f32 are at least as exact as those that acc=f16c allows.
bool accumulates(u8 has, u8 needs) {
  constexpr u8 kF32 = static_cast<u8>(isa::DType::kF32);
  constexpr u8 kF16 = static_cast<u8>(isa::DType::kF16);
  return matches(has, needs) || (has == kF32 && needs == kF16);
}
bool within(u32 has, i64 needs) {
  return has == 0 || needs <= static_cast<i64>(has);
}
bool holds_bits(u32 has, u32 needs) {
  return (needs & ~has) == 0;
}

bool covers(const tg_row& row, const Need& need, const CoverageLimits& limits) {
  const tg_row& n = need.row;
  return row.op == n.op && row.op_version == n.op_version && matches(row.x, n.x) &&
         matches(row.w, n.w) && accumulates(row.acc, n.acc) && matches(row.y, n.y) &&
         matches(row.kv, n.kv) && holds_bits(row.mask_bits, n.mask_bits) &&
         holds_bits(row.xq_bits, n.xq_bits) && holds_bits(row.flags, n.flags) &&
         within(row.max_tokens, limits.tokens) && within(row.max_context, limits.context) &&
         within(row.max_heads, need.heads) && within(row.max_dim, need.width);
}

std::string dtype_text(const char* label, u8 dtype) {
  if (dtype >= static_cast<u8>(isa::DType::kCount)) return "";
  return std::string(" ") + label + "=" +
         std::string(isa::info(static_cast<isa::DType>(dtype)).name);
}

std::string describe(const isa::FlatInstruction& op, const tg_row& n) {
  isa::Profile profile = isa::info(op.op).profile;
  std::string of =
      profile == isa::Profile::kText ? "" : " (profile " + std::string(isa::name(profile)) + ")";
  return std::string(isa::name(op.op)) + of + dtype_text("x", n.x) + dtype_text("w", n.w) +
         dtype_text("acc", n.acc) + dtype_text("y", n.y) + dtype_text("kv", n.kv) +
         (n.xq_bits > 1 ? " with quantised activations" : "") +
         ((n.flags & TG_ROW_LATENT) != 0 ? " over a latent cache" : "") +
         ((n.flags & TG_ROW_SELECTED) != 0 ? " with selected keys (profile SPARSE)" : "");
}

Error bad_plan(std::string text) {
  return Error{Code::kInvalid, "plan: " + std::move(text)};
}

// The op after which each op may run: for values the producer, for a cache layer its last user.
std::vector<std::vector<u32>> dependencies(const isa::FlatProgram& flat) {
  std::vector<i64> producer(flat.values.size(), -1);
  std::map<u64, u32> last_on_layer;
  std::vector<std::vector<u32>> after(flat.code.size());
  for (u32 i = 0; i < flat.code.size(); ++i) {
    for (const isa::FlatOperand& operand : flat.code[i].in) {
      if (operand.kind == OperandKind::kValue && producer[operand.index] >= 0) {
        after[i].push_back(static_cast<u32>(producer[operand.index]));
      }
      if (operand.kind != OperandKind::kKv) continue;
      u64 layer = static_cast<u64>(operand.index) << 32 | operand.layer;
      std::map<u64, u32>::iterator last = last_on_layer.find(layer);
      if (last != last_on_layer.end()) after[i].push_back(last->second);
      last_on_layer[layer] = i;
    }
    for (u32 value : flat.code[i].out) producer[value] = i;
  }
  return after;
}

}  // namespace

Status check_coverage(const isa::Program& program, const isa::FlatProgram& flat,
                      std::span<const tg_row> rows, const CoverageLimits& limits) {
  for (const isa::FlatInstruction& op : flat.code) {
    Need need = need_of(program, flat, op);
    bool covered = std::any_of(rows.begin(), rows.end(),
                               [&](const tg_row& row) { return covers(row, need, limits); });
    if (!covered) {
      return Error{Code::kUnsupported, "backend: no capability for " + describe(op, need.row)};
    }
  }
  return {};
}

Status check_segments(const isa::FlatProgram& flat, std::span<const tg_segment> segments) {
  std::vector<std::vector<u32>> after = dependencies(flat);
  std::vector<bool> done(flat.code.size(), false);
  std::size_t count = 0;
  for (const tg_segment& segment : segments) {
    for (u32 i = 0; i < segment.n_ops; ++i) {
      u32 op = segment.ops[i];
      if (op >= done.size()) return bad_plan("op " + std::to_string(op) + " does not exist");
      if (done[op]) return bad_plan("op " + std::to_string(op) + " is in two places");
      for (u32 earlier : after[op]) {
        if (!done[earlier]) {
          return bad_plan("op " + std::to_string(op) + " before op " + std::to_string(earlier) +
                          ", which it depends on");
        }
      }
      done[op] = true;
      ++count;
    }
  }
  if (count != done.size()) {
    return bad_plan(std::to_string(done.size() - count) + " ops are in no segment");
  }
  return {};
}

}  // namespace tg::backend
