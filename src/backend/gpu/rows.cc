#include "backend/gpu/rows.h"

#include "backend/cpu/kv_store.h"
#include "backend/gpu/packed.h"
#include "isa/codec.h"

namespace tg::backend::gpu {

namespace {

using isa::DType;
using isa::Opcode;

constexpr u8 code(DType type) {
  return static_cast<u8>(type);
}

// isa.md 9.3 and 9.4: products and attention choose their kernel by the step's size, so that a
// row's last bits depend on it (D1); all else is D2.
tg_row row(Opcode op, DType y, u8 err_class, u8 det_class = 2) {
  return {.size = sizeof(tg_row),
          .op = static_cast<u16>(op),
          .op_version = isa::info(op).version,
          .x = TG_ANY,
          .w = TG_ANY,
          .acc = code(DType::kF32),
          .y = code(y),
          .kv = TG_ANY,
          .err_class = err_class,
          .det_class = det_class};
}

void add_weighted(std::vector<tg_row>& rows, const tg_row& op) {
  for (u8 codec = 0; codec < code(DType::kCount); ++codec) {
    if (!isa::is_weight_codec(static_cast<DType>(codec))) continue;
    tg_row& added = rows.emplace_back(op);
    added.w = codec;
    added.xq_bits = (1u << static_cast<u32>(isa::ActivationQuant::kCount)) - 1;
  }
}

// acc=i32: one kernel whatever the step's size, so that a row's bits are its own.
void add_int_products(std::vector<tg_row>& rows, DType y) {
  for (Opcode op : {Opcode::kLinear, Opcode::kGroupedLinear}) {
    for (DType codec : {DType::kQ4_0, DType::kQ8_0}) {
      tg_row& added = rows.emplace_back(row(op, y, 3));
      added.w = code(codec);
      added.acc = code(DType::kI32);
      added.xq_bits = 1u << static_cast<u32>(isa::ActivationQuant::kInt8Block32) |
                      1u << static_cast<u32>(isa::ActivationQuant::kInt8Token);
    }
  }
}

void add_cached(std::vector<tg_row>& rows, const tg_row& op, const DeviceFacts& facts) {
  for (u8 format = 0; format < code(DType::kCount); ++format) {
    std::optional<cpu::KvFormat> found = cpu::kv_format(static_cast<DType>(format));
    if (!found) continue;
    if (cpu::element_bytes(*found) == 0 && !facts.divides_exactly) continue;
    tg_row& added = rows.emplace_back(op);
    added.kv = format;
    added.mask_bits = 0x7;  // every isa::Mask
    added.flags = TG_ROW_SINKS | TG_ROW_SOFTCAP | TG_ROW_WINDOW | TG_ROW_LATENT;
    added.max_dim = static_cast<u32>(kHeadDimMax);
  }
}

void add_exact(std::vector<tg_row>& rows) {
  rows.push_back(row(Opcode::kRoute, DType::kF32, 4));
  rows.push_back(row(Opcode::kLogits, DType::kF32, 0));
  rows.push_back(row(Opcode::kSample, DType::kI32, 0));
}

}  // namespace

std::vector<tg_row> capability_rows(const DeviceFacts& facts) {
  std::vector<tg_row> rows;
  for (DType y : {DType::kF32, DType::kF16, DType::kBf16}) {
    add_weighted(rows, row(Opcode::kEmbed, y, 0));
    add_weighted(rows, row(Opcode::kLinear, y, 3, 1));
    add_weighted(rows, row(Opcode::kGroupedLinear, y, 3, 1));
    add_int_products(rows, y);
    for (Opcode op : {Opcode::kGather, Opcode::kView, Opcode::kConcat, Opcode::kPermute}) {
      rows.push_back(row(op, y, 0));
    }
    for (Opcode op : {Opcode::kCast, Opcode::kAdd, Opcode::kMul}) rows.push_back(row(op, y, 1));
    for (Opcode op : {Opcode::kAct, Opcode::kEw, Opcode::kRope}) rows.push_back(row(op, y, 2));
    rows.push_back(row(Opcode::kBmm, y, 3, 1));
    for (Opcode op :
         {Opcode::kRmsNorm, Opcode::kLayerNorm, Opcode::kGlu, Opcode::kReduce, Opcode::kCombine}) {
      rows.push_back(row(op, y, 4));
    }
    add_cached(rows, row(Opcode::kAttn, y, 4, 1), facts);
  }
  for (Opcode op :
       {Opcode::kReduce, Opcode::kGather, Opcode::kView, Opcode::kConcat, Opcode::kPermute}) {
    rows.push_back(row(op, DType::kI32, 0));
  }
  tg_row append = row(Opcode::kKvAppend, DType::kF32, 0);
  append.y = TG_ANY;
  add_cached(rows, append, facts);
  if (facts.has_f64) add_exact(rows);
  return rows;
}

}  // namespace tg::backend::gpu
