// Numbers of the binary form that encode.cc and decode.cc share; encode.h describes the form.
#pragma once

#include "isa/program.h"

namespace tg::isa {

inline constexpr std::size_t kHeaderBytes = 32;
inline constexpr u32 kDimSymbol = 0x40000000;
inline constexpr u32 kDimGeneral = 0x80000000;
inline constexpr u32 kKvStateBit = 1u << 24;
inline constexpr u32 kKvLatentBit = 1u << 25;
inline constexpr u32 kFreshBit = 1u << 16;
inline constexpr u32 kPairKindShift = 28;
inline constexpr u32 kCostGroups = 4;  // per pass, token, row, sequence; group 4 is the head

inline unit::Counters& cost_group(unit::CostMatrix& m, u32 group) {
  return group == 0   ? m.per_pass
         : group == 1 ? m.per_token
         : group == 2 ? m.per_row
                      : m.per_sequence;
}
inline const unit::Counters& cost_group(const unit::CostMatrix& m, u32 group) {
  return cost_group(const_cast<unit::CostMatrix&>(m), group);
}

// The first word of the SHA-256 of the words as bytes: META's check.
u32 check_word(std::span<const u32> words);

}  // namespace tg::isa
