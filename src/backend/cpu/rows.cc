#include "backend/cpu/rows.h"

#include "backend/cpu/kernels/args.h"
#include "backend/cpu/kv_store.h"
#include "backend/cpu/pack.h"
#include "isa/opcode.h"

namespace tg::backend::cpu {

namespace {

using isa::DType;
using isa::Opcode;

constexpr u8 code(DType type) {
  return static_cast<u8>(type);
}

constexpr u8 mask_bit(isa::Mask mask) {
  return static_cast<u8>(1u << static_cast<u32>(mask));
}

// Conformance: error and determinism classes of isa.md 9.3 and 9.4. A row of a result never depends
// on what else is in the batch: D2.
tg_row row(Opcode op, DType y, u8 err_class) {
  return {.size = sizeof(tg_row),
          .op = static_cast<u16>(op),
          .op_version = isa::info(op).version,
          .x = TG_ANY,
          .w = TG_ANY,
          .acc = code(DType::kF32),
          .y = code(y),
          .kv = TG_ANY,
          .err_class = err_class,
          .det_class = 2};
}

void add_weighted(std::vector<tg_row>& rows, Opcode op, DType y, u8 err_class) {
  for (u8 codec = 0; codec < code(DType::kCount); ++codec) {
    if (!panel_form(static_cast<DType>(codec))) continue;
    tg_row& added = rows.emplace_back(row(op, y, err_class));
    added.w = codec;
    added.xq_bits = (1u << static_cast<u32>(isa::ActivationQuant::kCount)) - 1;
  }
}

void add_kv(std::vector<tg_row>& rows, tg_row added) {
  for (u8 format = 0; format < code(DType::kCount); ++format) {
    if (!kv_format(static_cast<DType>(format))) continue;
    added.kv = format;
    added.mask_bits =
        mask_bit(isa::Mask::kCausal) | mask_bit(isa::Mask::kFull) | mask_bit(isa::Mask::kTree);
    added.flags = TG_ROW_SINKS | TG_ROW_SOFTCAP | TG_ROW_WINDOW | TG_ROW_LATENT;
    added.max_dim = static_cast<u32>(kHeadDimMax);
    rows.push_back(added);
  }
}

tg_row dense_attention(DType y) {
  tg_row out = row(Opcode::kAttnDense, y, 4);
  out.mask_bits = mask_bit(isa::Mask::kCausal) | mask_bit(isa::Mask::kFull);
  out.flags = TG_ROW_SOFTCAP | TG_ROW_WINDOW;
  out.max_dim = static_cast<u32>(kHeadDimMax);
  return out;
}

}  // namespace

std::vector<tg_row> capability_rows() {
  std::vector<tg_row> rows;
  for (DType y : {DType::kF32, DType::kF16, DType::kBf16}) {
    add_weighted(rows, Opcode::kEmbed, y, 0);
    add_weighted(rows, Opcode::kLinear, y, 3);
    add_weighted(rows, Opcode::kGroupedLinear, y, 3);
    for (Opcode op : {Opcode::kGather, Opcode::kView, Opcode::kConcat, Opcode::kPermute}) {
      rows.push_back(row(op, y, 0));
    }
    for (Opcode op : {Opcode::kCast, Opcode::kAdd, Opcode::kMul}) rows.push_back(row(op, y, 1));
    for (Opcode op : {Opcode::kAct, Opcode::kEw, Opcode::kRope}) rows.push_back(row(op, y, 2));
    rows.push_back(row(Opcode::kBmm, y, 3));
    for (Opcode op : {Opcode::kRmsNorm, Opcode::kLayerNorm, Opcode::kGlu, Opcode::kReduce,
                      Opcode::kRoute, Opcode::kCombine, Opcode::kPool}) {
      rows.push_back(row(op, y, 4));
    }
    rows.push_back(dense_attention(y));
    add_kv(rows, row(Opcode::kAttn, y, 4));
  }
  rows.push_back(row(Opcode::kLogits, DType::kF32, 0));
  for (Opcode op : {Opcode::kSample, Opcode::kSpecVerify}) {
    rows.push_back(row(op, DType::kI32, 0));
  }
  rows.push_back(row(Opcode::kReduce, DType::kI32, 0));
  for (Opcode op : {Opcode::kGather, Opcode::kView, Opcode::kConcat, Opcode::kPermute}) {
    rows.push_back(row(op, DType::kI32, 0));
  }
  tg_row append = row(Opcode::kKvAppend, DType::kF32, 0);
  append.y = TG_ANY;
  add_kv(rows, append);
  return rows;
}

}  // namespace tg::backend::cpu
