// SGLang's own /generate: ids in, ids out; replies repeat everything said so far, so that each
// piece is what lies beyond the last.
#include "node/engines/engines.h"

namespace tg::node {
namespace {

class SglangReader final : public ReplyReader {
 public:
  Result<EngineNews> read(std::string_view text) override {
    EngineNews news;
    if (text == "[DONE]") {
      news.is_finished = true;
      news.reason = reason_;
      if (!has_reason_) news.error = "SGLang ended its reply without a reason";
      return news;
    }
    TG_ASSIGN(Json json, parse_object(text, "SGLang"));
    news.error = error_of(json);
    if (!news.error.empty()) return news;
    const Json& meta = member(json, "meta_info");
    take_ids(json, meta, news);
    take_text(json, news);
    const Json& reason = member(meta, "finish_reason");
    if (reason.is_object()) end(text_of(member(reason, "type")), news);
    return news;
  }

 private:
  // A server started with --stream-output sends only what is new: then the ids are fewer than the
  // count of all.
  void take_ids(const Json& json, const Json& meta, EngineNews& news) {
    std::vector<TokenId> ids;
    append_ids(member(json, "output_ids"), ids);
    i64 all = count_of(member(meta, "completion_tokens"));
    std::size_t known = static_cast<std::size_t>(ids_);
    bool is_cumulative = all == static_cast<i64>(ids.size()) && ids.size() >= known;
    std::size_t first = is_cumulative ? known : 0;
    news.tokens.assign(ids.begin() + static_cast<i64>(first), ids.end());
    take_logprobs(member(meta, "output_token_logprobs"), news);
    ids_ += static_cast<i64>(news.tokens.size());
  }
  void take_logprobs(const Json& list, EngineNews& news) const {
    if (!list.is_array() || list.size() < news.tokens.size()) return;
    std::size_t first = list.size() - news.tokens.size();
    for (std::size_t i = 0; i < news.tokens.size(); ++i) {
      const Json& entry = list[first + i];
      f32 logprob =
          entry.is_array() && !entry.empty() && entry[0].is_number() ? entry[0].get<f32>() : 0.0f;
      news.logprobs.push_back({news.tokens[i], logprob});
    }
  }
  void take_text(const Json& json, EngineNews& news) {
    std::string text = text_of(member(json, "text"));
    bool is_cumulative = text.starts_with(text_);
    news.text = is_cumulative ? text.substr(text_.size()) : text;
    text_ = is_cumulative ? std::move(text) : text_ + text;
  }
  void end(const std::string& type, EngineNews& news) {
    has_reason_ = true;
    reason_ = finish_reason_of(type, news.error);
  }

  i64 ids_ = 0;
  std::string text_;
  fleet::FinishReason reason_ = fleet::FinishReason::kStop;
  bool has_reason_ = false;
};

class SglangDialect final : public EngineDialect {
 public:
  EngineKind kind() const override { return EngineKind::kSglang; }
  market::UsageDialect usage() const override { return market::UsageDialect::kSglang; }
  std::unique_ptr<ReplyReader> reader() const override { return std::make_unique<SglangReader>(); }
  HttpCall generate(const fleet::SupplyRequest& request, const EngineFacts&,
                    const Tokenizer&) const override {
    const isa::SamplingParams& s = request.sampling;
    Json sampling = {{"max_new_tokens", request.max_tokens},
                     {"temperature", s.temperature},
                     {"top_p", s.top_p},
                     {"top_k", s.top_k > 0 ? s.top_k : -1},
                     {"min_p", s.min_p},
                     {"repetition_penalty", s.repetition_penalty},
                     {"presence_penalty", s.presence_penalty},
                     {"frequency_penalty", s.frequency_penalty},
                     {"stop_token_ids", request.stop_tokens},
                     {"ignore_eos", request.stop_tokens.empty()},
                     {"skip_special_tokens", false}};
    Json body = {{"rid", "tg-" + std::to_string(request.id)},
                 {"input_ids", request.prompt},
                 {"sampling_params", std::move(sampling)},
                 {"stream", true}};
    if (s.logprobs >= 0) body["return_logprob"] = true;
    return {.method = "POST", .path = "/generate", .body = dumped(body)};
  }
  std::vector<HttpCall> probes() const override {
    return {{.path = "/get_model_info"}, {.path = "/get_server_info"}};
  }
  void learn(std::size_t probe, std::string_view text, EngineFacts& facts) const override {
    Result<Json> json = parse_object(text, "SGLang");
    if (!json.ok()) return;
    if (probe == 0) {
      facts.has_model = true;
      if (facts.model.empty()) facts.model = text_of(member(*json, "model_path"));
      return;
    }
    facts.version = text_of(member(*json, "version"));
    facts.context_max = count_of(member(*json, "context_length"));
    facts.slots = count_of(member(*json, "max_running_requests"));
  }
  void read_metrics(const Metrics& m, const EngineFacts&,
                    fleet::SupplierLoad& load) const override {
    load.running = m.count_of({"sglang:num_running_reqs"});
    load.waiting = m.count_of({"sglang:num_queue_reqs"});
    set_cache_use(m.first_of({"sglang:token_usage"}), load);
    load.prompt_tokens = static_cast<u64>(m.count_of({"sglang:prompt_tokens_total"}));
    load.output_tokens = static_cast<u64>(m.count_of({"sglang:generation_tokens_total"}));
    load.cached_tokens = static_cast<u64>(m.count_of({"sglang:cached_tokens_total"}));
  }
  // Its scheduler hears of closed connections late, so it is told.
  std::optional<HttpCall> abort(u64 id) const override {
    Json body = {{"rid", "tg-" + std::to_string(id)}};
    return HttpCall{.method = "POST", .path = "/abort_request", .body = dumped(body)};
  }
};

}  // namespace

const EngineDialect& sglang_dialect() {
  static const SglangDialect kDialect;
  return kDialect;
}

}  // namespace tg::node
