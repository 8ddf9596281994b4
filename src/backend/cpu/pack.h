// Repacking of canonical weights (isa/codec.h) into the forms kernels read.
#pragma once

#include <optional>

#include "backend/abi.h"
#include "backend/cpu/panel.h"
#include "isa/dtype.h"

namespace tg::backend::cpu {

// Uses of a weight that read it as panels: one matrix, or one for each of its first dimension.
inline constexpr u16 kUsesAsPanels = TG_USE_MATRIX | TG_USE_ROWS | TG_USE_BATCHED | TG_USE_GROUPED;

// The panel form of a codec; nullopt if this backend has no kernel for it.
std::optional<PanelForm> panel_form(isa::DType codec);

// Writes panels of the matrix [n, k] whose canonical rows are at `rows`; every byte of
// out[0, panel_count(n) * panel_bytes(*panel_form(codec), k)) is written.
// REQUIRES: panel_form(codec); k is a multiple of the codec's block.
void pack_panels(isa::DType codec, const u8* rows, i64 n, i64 k, u8* out);

}  // namespace tg::backend::cpu
