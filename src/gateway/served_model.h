// A model this gateway offers: how text becomes ids, and who turns ids into more ids.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/types.h"
#include "fleet/supplier.h"
#include "gateway/guard.h"
#include "grammar/cache.h"
#include "market/tariff.h"
#include "text/chat_template.h"
#include "text/reply_format.h"
#include "text/tokenizer.h"
#include "unit/cost_matrix.h"

namespace tg::gateway {

struct ServedModel {
  std::string id;
  i64 created = 0;  // Unix seconds.
  // Shared with whoever else tokenizes for this model; immutable.
  std::shared_ptr<const Tokenizer> tokenizer;
  // Of that tokenizer; keeps control tokens out of what participants say. Not null.
  std::shared_ptr<const ControlGuard> guard;
  std::optional<ChatTemplate> chat_template;  // Without one, only /v1/completions.
  fleet::Supplier* supplier = nullptr;        // Outlives the server.
  std::string program;                        // Program id, hex.
  i64 context_max = 0;                        // Prompt and output tokens together.
  bool generates = true;
  i64 embedding_width = 0;  // Floats of its vectors; 0: it makes none.
  // What estimates are made from; without a matrix there are none. Outlives the server.
  const unit::CostMatrix* cost = nullptr;
  market::Tariff tariff = {};
  // Runs that its supplier is given at once; more wait at the gateway in fair order. 0: all.
  i64 slots_max = 0;
  // For checking shapes of replies before anything is charged; none: the supplier checks. Shared
  // with the supplier, so that it finds them compiled.
  std::shared_ptr<grammar::ModelGrammars> grammars = {};

  // Found by describe(): how replies are read, and the control tokens that stay visible for it.
  ReplyFormat format = {};
  std::vector<TokenId> markers = {};
};

// Control tokens that replies of this format may hold, as far as the vocabulary has them.
std::vector<TokenId> marker_tokens(const Tokenizer& tokenizer, const ReplyFormat& format);

// Fills in what follows from tokenizer and template. Server::start does it for its models.
void describe(ServedModel& model);

}  // namespace tg::gateway
