// Any bytes as the events of a response in any dialect: the classes stay disjoint and in range.
#include "base/assert.h"
#include "market/usage/token_usage.h"

extern "C" int LLVMFuzzerTestOneInput(const unsigned char* data, std::size_t size) {
  using namespace tg::market;
  if (size == 0) return 0;
  constexpr unsigned kDialects = 8;
  UsageReader reader(static_cast<UsageDialect>(data[0] % kDialects));
  std::string_view text(reinterpret_cast<const char*>(data + 1), size - 1);
  while (!text.empty()) {
    std::size_t end = std::min(text.find('\n'), text.size());
    (void)reader.read(text.substr(0, end)).ok();
    text.remove_prefix(std::min(end + 1, text.size()));
  }
  ExternalUsage usage = reader.finish({.prompt_tokens = 100, .delivered_bytes = 400});
  Consumption use;
  set_tokens(usage.tokens, use);
  for (std::size_t i = 0; i < kTokenClasses; ++i) {
    TG_ASSERT(use.values[i] >= 0);
    TG_ASSERT(use.values[i] <= 4 * kRatedTokensMax);
  }
  ExternalUsage counted = recounted(usage, {.prompt_tokens = 100, .output_tokens = 50});
  TG_ASSERT(counted.tokens.cached_input >= 0 && counted.tokens.uncached_input >= 0);
  return 0;
}
