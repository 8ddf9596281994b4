// An engine in another process (vLLM, SGLang, llama.cpp, TGI, Ollama, anything that speaks OpenAI's
// completions) as a supplier. Prompts go out as token ids where the engine takes them; replies come
// back as ids or are tokenized here, marked as estimated. What the engine says it used is only
// believed where it cannot cost the buyer more: tokens are counted as they come.
#pragma once

#include <memory>
#include <string>

#include "env/clock.h"
#include "fleet/supplier.h"
#include "node/engines/dialect.h"
#include "node/loop.h"
#include "text/tokenizer.h"

namespace tg::node {

struct EngineOptions {
  EngineKind kind = EngineKind::kOpenAi;
  std::string url;          // "http://host:port", with a path if the API does not lie at the root
  std::string model;        // as the engine names it; "" for the first it offers
  std::string api_key;      // sent as a bearer token; "" for none
  i64 open_max = 256;       // requests open at once
  i64 context_max = 0;      // 0: what the engine says
  i64 scrape_ms = 500;      // how often it is asked how busy it is
  i64 silent_ms = 120'000;  // without a byte of a reply
};

class EngineSupplier final : public fleet::Supplier {
 public:
  // Begins to ask the engine what it can do and returns; until it has answered, load() says that it
  // is not up and requests wait for its connection. kInvalid for a bad URL. Loop and clock must
  // outlive the supplier.
  static Result<std::unique_ptr<EngineSupplier>> start(EngineOptions options,
                                                       std::shared_ptr<const Tokenizer> tokenizer,
                                                       Loop& loop, Clock& clock);
  // Cancels what runs; the last events come from the loop, also afterwards.
  ~EngineSupplier() override;
  EngineSupplier(const EngineSupplier&) = delete;
  EngineSupplier& operator=(const EngineSupplier&) = delete;

  Status submit(fleet::SupplyRequest request) override;
  void cancel(u64 id) override;
  fleet::SupplierLoad load() const override;
  // What the engine said of itself so far.
  EngineFacts facts() const;

  struct State;

 private:
  explicit EngineSupplier(std::shared_ptr<State> state) : state_(std::move(state)) {}
  // Shared with the coroutines on the loop, which may outlive the supplier by a moment.
  std::shared_ptr<State> state_;
};

}  // namespace tg::node
