// Rotary position settings of config.json as GGUF keys: base, rotated share and the published
// scalings (linear, dynamic, llama3, YaRN, LongRoPE), which program templates fold into one table.
#pragma once

#include "base/result.h"
#include "model/huggingface/config.h"
#include "model/huggingface/families.h"
#include "model/huggingface/metadata.h"

namespace tg::checkpoint {

// Writes keys behind `prefix`, and LongRoPE's divisors as tables. kUnsupported naming a scaling
// that is not known.
Status write_rope(const Config& config, const Family& family, const std::string& prefix,
                  Metadata& out);

}  // namespace tg::checkpoint
