// How one kind of external engine is spoken to, as values: what to send for a request, what each
// piece of its reply means, what it says of itself. No sockets: net/engine_calls moves the bytes.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "fleet/supplier.h"
#include "market/usage/token_usage.h"
#include "node/engines/prometheus.h"
#include "text/tokenizer.h"

namespace tg::node {

// MindIE speaks OpenAI's dialect.
#define TG_ENGINE_KINDS(X)  \
  X(kOpenAi, "openai")      \
  X(kVllm, "vllm")          \
  X(kSglang, "sglang")      \
  X(kLlamaCpp, "llama.cpp") \
  X(kTgi, "tgi")            \
  X(kOllama, "ollama")

enum class EngineKind : u8 {
#define TG_ENGINE_KIND_ENUM(id, name) id,
  TG_ENGINE_KINDS(TG_ENGINE_KIND_ENUM)
#undef TG_ENGINE_KIND_ENUM
};
std::string_view name(EngineKind kind);
std::optional<EngineKind> engine_kind_by_name(std::string_view name);

struct HttpCall {
  std::string method = "GET";
  std::string path;
  std::string body = {};  // JSON; "" for none
};

// What an engine said of itself when it was asked; what it did not say keeps its default.
struct EngineFacts {
  std::string model;       // the name requests use there
  std::string version;     // as far as it says
  i64 context_max = 0;     // 0: not known
  i64 slots = 0;           // requests at once; 0: not known
  bool gives_ids = true;   // token ids come back with the text; found out from replies
  bool has_model = false;  // the wanted model is among those it offers
};

// What one piece of a reply adds.
struct EngineNews {
  std::string text;  // new text, if the piece has no ids
  std::vector<TokenId> tokens;
  std::vector<fleet::TokenLogprob> logprobs;
  bool is_finished = false;
  fleet::FinishReason reason = fleet::FinishReason::kStop;
  std::string error;  // not empty: the engine gave up
};

// Reads one streamed reply, piece by piece.
class ReplyReader {
 public:
  virtual ~ReplyReader() = default;
  // One event's data or one line. kInvalid if it is not what the engine's kind sends.
  virtual Result<EngineNews> read(std::string_view json) = 0;
};

class EngineDialect {
 public:
  virtual ~EngineDialect() = default;
  virtual EngineKind kind() const = 0;
  // The call that starts a streamed reply.
  virtual HttpCall generate(const fleet::SupplyRequest& request, const EngineFacts& facts,
                            const Tokenizer& tokenizer) const = 0;
  virtual std::unique_ptr<ReplyReader> reader() const = 0;
  virtual market::UsageDialect usage() const = 0;
  // Replies are lines of JSON rather than server-sent events.
  virtual bool is_lines() const { return false; }
  // What to ask when the engine is first met; the answers go to learn() in the same order. A call
  // that an older version does not know may fail.
  virtual std::vector<HttpCall> probes() const = 0;
  virtual void learn(std::size_t probe, std::string_view json, EngineFacts& facts) const = 0;
  // Where its metrics are; "" if it has none, then only our own count of its requests says how busy
  // it is.
  virtual std::string metrics_path() const { return "/metrics"; }
  virtual void read_metrics(const Metrics& metrics, const EngineFacts& facts,
                            fleet::SupplierLoad& load) const = 0;
  virtual std::string health_path() const { return "/health"; }
  // What ends a request besides closing its connection, which every kind heeds; none for most.
  virtual std::optional<HttpCall> abort(u64 id) const {
    static_cast<void>(id);
    return std::nullopt;
  }
};

// Lives as long as the process.
const EngineDialect& engine_dialect(EngineKind kind);

}  // namespace tg::node
