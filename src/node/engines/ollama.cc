// Ollama's own /api/generate with raw prompts: text on both ends, lines of JSON.
#include "node/engines/engines.h"

namespace tg::node {
namespace {

class OllamaReader final : public ReplyReader {
 public:
  Result<EngineNews> read(std::string_view text) override {
    EngineNews news;
    TG_ASSIGN(Json json, parse_object(text, "Ollama"));
    news.error = error_of(json);
    if (!news.error.empty()) return news;
    news.text = text_of(member(json, "response"));
    const Json& is_done = member(json, "done");
    if (!is_done.is_boolean() || !is_done.get<bool>()) return news;
    news.is_finished = true;
    std::string reason = text_of(member(json, "done_reason"));
    news.reason = finish_reason_of(reason.empty() ? "stop" : reason, news.error);
    return news;
  }
};

class OllamaDialect final : public EngineDialect {
 public:
  EngineKind kind() const override { return EngineKind::kOllama; }
  market::UsageDialect usage() const override { return market::UsageDialect::kOllama; }
  std::unique_ptr<ReplyReader> reader() const override { return std::make_unique<OllamaReader>(); }
  bool is_lines() const override { return true; }
  HttpCall generate(const fleet::SupplyRequest& request, const EngineFacts& facts,
                    const Tokenizer& tokenizer) const override {
    const isa::SamplingParams& s = request.sampling;
    Json options = {{"num_predict", request.max_tokens},
                    {"temperature", s.temperature},
                    {"top_k", s.top_k > 0 ? s.top_k : 0},
                    {"top_p", s.top_p},
                    {"min_p", s.min_p},
                    {"repeat_penalty", s.repetition_penalty},
                    {"presence_penalty", s.presence_penalty},
                    {"frequency_penalty", s.frequency_penalty},
                    {"seed", s.seed & 0x7fffffff}};
    Json body = {{"model", facts.model},
                 {"prompt", prompt_text(request, tokenizer)},
                 {"raw", true},
                 {"stream", true},
                 {"options", std::move(options)}};
    return {.method = "POST", .path = "/api/generate", .body = dumped(body)};
  }
  std::vector<HttpCall> probes() const override {
    return {{.path = "/api/tags"}, {.path = "/api/version"}};
  }
  void learn(std::size_t probe, std::string_view text, EngineFacts& facts) const override {
    Result<Json> json = parse_object(text, "Ollama");
    if (!json.ok()) return;
    if (probe == 1) {
      facts.version = text_of(member(*json, "version"));
      return;
    }
    const Json& models = member(*json, "models");
    if (!models.is_array()) return;
    for (const Json& model : models) {
      std::string id = text_of(member(model, "name"));
      if (facts.model.empty()) facts.model = id;
      // A name without a tag means the latest.
      if (id == facts.model || id == facts.model + ":latest") facts.has_model = true;
    }
  }
  std::string metrics_path() const override { return ""; }
  void read_metrics(const Metrics&, const EngineFacts&, fleet::SupplierLoad&) const override {}
  std::string health_path() const override { return "/api/version"; }
};

}  // namespace

const EngineDialect& ollama_dialect() {
  static const OllamaDialect kDialect;
  return kDialect;
}

}  // namespace tg::node
