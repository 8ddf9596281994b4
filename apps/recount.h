// L3 of a receipt: the buyer counts the tokens of what was sent, with the model's own tokenizer and
// template, as the gateway did. What was received is not recounted: a text does not say how a model
// split it into tokens.
#pragma once

#include <string>
#include <string_view>

#include "meter/receipt_file.h"

namespace tg::apps {

// `body` as it was sent to `api` ("chat", "completions", "messages", "responses", "ollama-chat",
// "ollama-generate"), `model` a file or directory with the tokenizer of the receipt's model.
meter::Check recount(const std::string& model, const std::string& api, std::string_view body,
                     const meter::Receipt& receipt);

}  // namespace tg::apps
