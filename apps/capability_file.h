// Capability records as files, for whoever believes them: `calibrate --check`, and suppliers whose
// speed and power a record tells to begin with.
#pragma once

#include <string>

#include "base/result.h"
#include "dispatch/pool_core.h"
#include "fleet/capability.h"

namespace tg::apps {

// With a file that holds a verifier key, kDenied unless that key signed it; "": whoever signed.
Result<fleet::Capability> read_capability(const std::string& path, const std::string& key_file);

// What a record says of a supplier: step times, and the power at its fastest, if that is known.
void take_capability(const fleet::Capability& capability, dispatch::PoolSupplier& supplier);

}  // namespace tg::apps
