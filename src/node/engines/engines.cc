#include "node/engines/engines.h"

#include <algorithm>
#include <array>

#include "text/detokenizer.h"

namespace tg::node {

constexpr std::array<std::string_view, 6> kKindNames = {
#define TG_ENGINE_KIND_NAME(id, name) name,
    TG_ENGINE_KINDS(TG_ENGINE_KIND_NAME)
#undef TG_ENGINE_KIND_NAME
};

std::string_view name(EngineKind kind) {
  return kKindNames[static_cast<std::size_t>(kind)];
}

std::optional<EngineKind> engine_kind_by_name(std::string_view name) {
  if (name == "mindie") return EngineKind::kOpenAi;
  for (std::size_t i = 0; i < kKindNames.size(); ++i) {
    if (kKindNames[i] == name) return static_cast<EngineKind>(i);
  }
  return std::nullopt;
}

const EngineDialect& engine_dialect(EngineKind kind) {
  switch (kind) {
    case EngineKind::kOpenAi: return openai_dialect();
    case EngineKind::kVllm: return vllm_dialect();
    case EngineKind::kSglang: return sglang_dialect();
    case EngineKind::kLlamaCpp: return llama_cpp_dialect();
    case EngineKind::kTgi: return tgi_dialect();
    case EngineKind::kOllama: return ollama_dialect();
  }
  return openai_dialect();
}

std::string prompt_text(const fleet::SupplyRequest& request, const Tokenizer& tokenizer) {
  std::string text;
  append_valid_utf8(text, tokenizer.decode(request.prompt, true), false);
  return text;
}

std::string dumped(const Json& body) {
  return body.dump(-1, ' ', false, Json::error_handler_t::replace);
}

void set_cache_use(f64 share, fleet::SupplierLoad& load) {
  f64 within = share >= 0 && share <= 1 ? share : 0;
  load.kv_pages_total = kCachePages;
  load.kv_pages_free = static_cast<i64>((1 - within) * static_cast<f64>(kCachePages));
}

}  // namespace tg::node
