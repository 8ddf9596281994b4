// Any bytes as a streamed reply of any engine, and as its metrics and probes.
#include "base/assert.h"
#include "node/engines/dialect.h"
#include "node/engines/event_lines.h"

extern "C" int LLVMFuzzerTestOneInput(const unsigned char* data, std::size_t size) {
  using namespace tg::node;
  if (size < 2) return 0;
  constexpr unsigned kKinds = 6;
  const EngineDialect& dialect = engine_dialect(static_cast<EngineKind>(data[0] % kKinds));
  std::size_t piece = data[1] == 0 ? size : data[1];
  std::string_view body(reinterpret_cast<const char*>(data + 2), size - 2);
  EventLines lines(dialect.is_lines());
  std::unique_ptr<ReplyReader> reader = dialect.reader();
  std::vector<std::string> texts;
  for (std::size_t at = 0; at < body.size(); at += piece) {
    if (!lines.push(body.substr(at, piece), texts).ok()) return 0;
  }
  lines.finish(texts);
  for (const std::string& text : texts) {
    tg::Result<EngineNews> news = reader->read(text);
    if (!news.ok()) break;
    for (tg::TokenId id : news->tokens) TG_ASSERT(id >= 0 && id < tg::kVocabTokensMax);
    TG_ASSERT(news->logprobs.size() <= news->tokens.size() || news->logprobs.empty());
  }
  EngineFacts facts;
  for (std::size_t probe = 0; probe < dialect.probes().size(); ++probe)
    dialect.learn(probe, body, facts);
  TG_ASSERT(facts.context_max >= 0 && facts.slots >= 0);
  tg::fleet::SupplierLoad load;
  dialect.read_metrics(Metrics::parse(body), facts, load);
  TG_ASSERT(load.running >= 0 && load.waiting >= 0);
  TG_ASSERT(load.kv_pages_free >= 0 && load.kv_pages_free <= load.kv_pages_total);
  return 0;
}
