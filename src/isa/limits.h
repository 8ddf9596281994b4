// The published limits of programs (M6, V19). A loader may rely on them before it has read a byte;
// raising one is a minor version.
#pragma once

#include "base/types.h"

namespace tg::isa {

inline constexpr i64 kFileBytesMax = i64{1} << 20;
inline constexpr i64 kTextBytesMax = i64{4} << 20;
inline constexpr i64 kStringsMax = 4'096;
inline constexpr i64 kStringBytesMax = 255;
inline constexpr i64 kInstructionsMax = 65'535;  // After loops are unrolled.
inline constexpr i64 kValuesMax = 65'535;
inline constexpr i64 kWeightsMax = 4'096;
inline constexpr i64 kKvMax = 16;
inline constexpr i64 kConstantsMax = 256;
inline constexpr i64 kConstantBytesMax = 65'536;  // All constants together.
inline constexpr i64 kMetaMax = 256;
inline constexpr i64 kMetaBytesMax = 65'536;  // Of one value.

inline constexpr i64 kRankMax = 4;
inline constexpr i64 kOperandsMax = 16;
inline constexpr i64 kCycleMax = 64;    // Entries of a cyc(...) table.
inline constexpr i64 kEwCodeMax = 64;   // Words of an `ew` program.
inline constexpr i64 kEwStackMax = 16;  // Depth of its stack.
inline constexpr i64 kLayersMax = 4'095;
inline constexpr i64 kHeadsMax = 65'535;
inline constexpr i64 kDimMax = (i64{1} << 28) - 1;  // One constant dimension.
inline constexpr i64 kDimFactorMax = 65'535;        // A symbol's factor in a dimension.
inline constexpr i64 kElementsMax = i64{1} << 40;   // One tensor, one layer.
inline constexpr i64 kTokensMax = i64{1} << 20;     // T of a step
inline constexpr i64 kSequencesMax = i64{1} << 16;  // S
inline constexpr i64 kRowsMax = i64{1} << 20;       // R
inline constexpr i64 kContextMax = i64{1} << 27;    // keys of a sequence
inline constexpr i64 kPageTokensMax = 4'096;
inline constexpr i64 kTopLogprobsMax = 32;
inline constexpr i64 kExpertsMax = 4'096;                 // of one route
inline constexpr i64 kExpertsActiveMax = 256;             // k of route
inline constexpr i64 kSelectedMax = 65'536;               // k of index
inline constexpr i64 kRanksMax = 65'535;                  // of a mesh axis
inline constexpr i64 kActivationBytesMax = i64{1} << 44;  // High-water mark at the bounds (V21).

}  // namespace tg::isa
