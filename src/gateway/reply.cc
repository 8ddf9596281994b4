#include "gateway/reply.h"

#include "base/json_out.h"
#include "gateway/dialect/anthropic.h"
#include "gateway/dialect/embedding_reply.h"
#include "gateway/dialect/ollama.h"
#include "gateway/dialect/openai_reply.h"
#include "gateway/dialect/responses.h"
#include "unit/standard_token.h"

namespace tg::gateway {

void add_part(std::vector<ReplyBlock>& blocks, const ReplyPart& part, std::string_view id) {
  bool joins = !blocks.empty() && blocks.back().kind == part.kind && !part.is_new_call;
  if (joins) {
    blocks.back().text += part.text;
  } else {
    blocks.push_back(
        {.kind = part.kind, .text = part.text, .name = part.name, .id = std::string(id)});
  }
}

std::string joined(const std::vector<ReplyBlock>& blocks, ReplyPart::Kind kind) {
  std::string out;
  for (const ReplyBlock& block : blocks) {
    if (block.kind == kind) out += block.text;
  }
  return out;
}

std::string_view finish_reason(const Finish& finish) {
  switch (finish.reason) {
    case Finish::Reason::kStop:
    case Finish::Reason::kStopString: return "stop";
    case Finish::Reason::kLength:
    case Finish::Reason::kBudget: return "length";
    case Finish::Reason::kToolCalls: return "tool_calls";
  }
  return "stop";
}

std::unique_ptr<ReplyWriter> make_writer(const CompletionRequest& request, ReplyHead head) {
  switch (request.api) {
    case Api::kChat:
    case Api::kCompletions: return make_openai_writer(std::move(head));
    case Api::kMessages: return make_anthropic_writer(std::move(head));
    case Api::kResponses: return make_responses_writer(request, std::move(head));
    case Api::kOllamaChat:
    case Api::kOllamaGenerate: return make_ollama_writer(std::move(head));
    case Api::kEmbeddings:
    case Api::kOllamaEmbed:
    case Api::kOllamaEmbeddings: return make_embedding_writer(*request.embedding, std::move(head));
  }
  return nullptr;
}

std::string tokengrid_json(const UsageReport& usage) {
  std::string out;
  JsonWriter json(out);
  json.begin_object();
  json.key("nominal_st").string(unit::to_decimal(unit::NanoSt(usage.nominal_nst)));
  json.key("nominal_nst").number(usage.nominal_nst);
  json.key("outcome").string(meter::name(usage.outcome));
  if (usage.in_money) {
    json.key("charged_ucredit").number(usage.charged);
  } else {
    json.key("charged_nst").number(usage.charged);
  }
  // The same charge, said both ways: whatever the price was made of.
  json.key("price_ucredit").begin_object().key("total").number(usage.value_ucredit);
  if (usage.views.per_million_tokens)
    json.key("per_million_tokens").number(*usage.views.per_million_tokens);
  if (usage.views.per_mst) json.key("per_mst").number(*usage.views.per_mst);
  json.end_object();
  if (usage.energy_uj > 0 || usage.is_energy_measured) {
    constexpr f64 kMicro = 1e-6;
    json.key("energy_joules").real(static_cast<f64>(usage.energy_uj) * kMicro);
    json.key("energy_source").string(usage.is_energy_measured ? "measured" : "modelled");
  }
  json.key("receipt_id");
  if (usage.receipt_ids.empty()) {
    json.null();
  } else {
    json.string(usage.receipt_ids.front());
  }
  if (usage.receipt_ids.size() > 1) {
    json.key("receipt_ids").begin_array();
    for (const std::string& id : usage.receipt_ids) json.string(id);
    json.end_array();
  }
  json.end_object();
  return out;
}

}  // namespace tg::gateway
