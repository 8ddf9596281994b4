// Any bytes as a canonical rate card and as TOML: an error or a card that survives its own text.
#include "base/assert.h"
#include "market/rating/rate_card.h"

extern "C" int LLVMFuzzerTestOneInput(const unsigned char* data, std::size_t size) {
  using namespace tg::market;
  std::string_view text(reinterpret_cast<const char*>(data), size);
  tg::Result<RateCard> canonical = parse_rate_card(text);
  if (canonical.ok()) TG_ASSERT(to_text(*canonical) == text);
  tg::Result<RateCard> written = parse_rate_card_toml(text, "fuzz.toml");
  if (!written.ok()) return 0;
  tg::Result<RateCard> again = parse_rate_card(to_text(*written));
  TG_ASSERT(again.ok() && digest(*again) == digest(*written));
  return 0;
}
