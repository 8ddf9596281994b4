// Any bytes as a canonical rate card: an error or a card that is its own text. Not as TOML:
// toml++ 3.3 stops at its own assertions on texts such as "[<[", and at an unreachable place on
// U+FEF7 outside a string.
#include "base/assert.h"
#include "market/rating/rate_card.h"

extern "C" int LLVMFuzzerTestOneInput(const unsigned char* data, std::size_t size) {
  using namespace tg::market;
  std::string_view text(reinterpret_cast<const char*>(data), size);
  tg::Result<RateCard> canonical = parse_rate_card(text);
  if (canonical.ok()) TG_ASSERT(to_text(*canonical) == text);
  return 0;
}
