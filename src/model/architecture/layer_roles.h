// The tensors of a decoder layer: what each is called in files and in programs, its shape, and
// whether a layer of that kind must have it. The importer looks tensors up by this table and the
// synthesizer writes files from it.
#pragma once

#include <array>
#include <string_view>
#include <vector>

#include "base/types.h"
#include "model/architecture/architectures.h"
#include "model/architecture/shape.h"

namespace tg::model {

enum Role : std::size_t {
  kNorm1,
  kWqkv,
  kBqkv,
  kWq,
  kBq,
  kWk,
  kBk,
  kWv,
  kBv,
  kQNorm,
  kKNorm,
  kWqa,
  kQaNorm,
  kWqb,
  kWkva,
  kKvaNorm,
  kWkb,
  kWvb,
  kSinks,
  kWo,
  kBo,
  kPost1,
  kNorm2,
  kWg,
  kBg,
  kWu,
  kBu,
  kWd,
  kBd,
  kRouter,
  kBrouter,
  kSelect,
  kEg,
  kBeg,
  kEu,
  kBeu,
  kEd,
  kBed,
  kSg,
  kSu,
  kSd,
  kPost2,
  kRoles
};

enum class Need : u8 { kAbsent, kOptional, kRequired };

struct RoleInfo {
  std::string_view symbol;  // without the '$'
  std::string_view tensor;  // behind "blk.N."
  Need need = Need::kAbsent;
  std::vector<i64> dims;  // outermost first
};

// By role. REQUIRES: 0 <= layer < shape.layers.
std::array<RoleInfo, kRoles> layer_roles(const DecoderShape& shape, const DecoderTraits& traits,
                                         i64 layer);

}  // namespace tg::model
