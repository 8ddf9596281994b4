// Repacking of canonical weights (isa/codec.h) into the forms kernels read.
#pragma once

#include <optional>

#include "backend/cpu/panel.h"
#include "isa/dtype.h"

namespace tg::backend::cpu {

// The panel form of a codec; nullopt if this backend has no kernel for it.
std::optional<PanelForm> panel_form(isa::DType codec);

// Writes panels of the matrix [n, k] whose canonical rows are at `rows`; every byte of
// out[0, panel_count(n) * panel_bytes(form, k)) is written.
// REQUIRES: k is a multiple of the codec's block.
void pack_panels(PanelForm form, const u8* rows, i64 n, i64 k, u8* out);

}  // namespace tg::backend::cpu
