// The dialects there are, and what several of them need.
#pragma once

#include "node/engines/dialect.h"
#include "node/engines/json.h"

namespace tg::node {

const EngineDialect& openai_dialect();
const EngineDialect& vllm_dialect();
const EngineDialect& sglang_dialect();
const EngineDialect& llama_cpp_dialect();
const EngineDialect& tgi_dialect();
const EngineDialect& ollama_dialect();

// The prompt as text, control tokens spelled out, for engines that take no ids. Bytes that are no
// UTF-8 become U+FFFD.
std::string prompt_text(const fleet::SupplyRequest& request, const Tokenizer& tokenizer);
std::string dumped(const Json& body);
// A share of the cache as pages of a pool of kCachePages, since engines tell no more.
inline constexpr i64 kCachePages = 10'000;
void set_cache_use(f64 share, fleet::SupplierLoad& load);

}  // namespace tg::node
