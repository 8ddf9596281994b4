// A chat as the text that a model's template makes of it: messages, tools, calls and variables in
// the template's own terms, with control tokens that participants wrote kept as text.
#pragma once

#include <string>

#include "gateway/completion_request.h"
#include "gateway/served_model.h"
#include "text/reply_parser.h"

namespace tg::gateway {

struct RenderedChat {
  std::string text;
  ReplyParser::Options reply;
  std::string reply_prefix;  // The text's end that belongs to the reply.
};

// 400 names what the model's template cannot express (tools, a bound tool choice) or refuses.
// REQUIRES: request.is_chat().
ApiResult<RenderedChat> render_chat(const ServedModel& model, const CompletionRequest& request,
                                    i64 unix_seconds);

}  // namespace tg::gateway
