// Any bytes as a capability record: one that is read is written and read again the same.
#include <string>

#include "base/assert.h"
#include "fleet/capability.h"

extern "C" int LLVMFuzzerTestOneInput(const unsigned char* data, std::size_t size) {
  using namespace tg::fleet;
  std::string_view text(reinterpret_cast<const char*>(data), size);
  tg::Result<Capability> read = parse_capability(text);
  if (!read.ok()) return 0;
  std::string once = to_text(*read);
  tg::Result<Capability> again = parse_capability(once);
  if (again.ok()) TG_ASSERT(to_text(*again).size() > 0);
  return 0;
}
