// Any bytes as a scenario: suppliers that a world could be made of or one error, never a crash.
// Those that name files are left alone.
#include "base/assert.h"
#include "sim/scenario.h"

extern "C" int LLVMFuzzerTestOneInput(const unsigned char* data, std::size_t size) {
  std::string_view text(reinterpret_cast<const char*>(data), size);
  for (const char* key : {"perf", "capability", "\\"}) {
    if (text.find(key) != text.npos) return 0;
  }
  tg::Result<tg::sim::Scenario> scenario = tg::sim::parse_scenario(text, "fuzz");
  if (!scenario.ok()) return 0;
  TG_ASSERT(!scenario->suppliers.empty() && scenario->money.tick_ns > 0);
  for (const tg::sim::Fault& fault : scenario->faults) {
    TG_ASSERT(fault.supplier < scenario->suppliers.size());
  }
  return 0;
}
