// OpenAI's replies of chat completions and completions: whole objects and stream chunks. What is
// ours sits under "tokengrid".
#pragma once

#include <memory>

#include "gateway/reply.h"

namespace tg::gateway {

std::unique_ptr<ReplyWriter> make_openai_writer(ReplyHead head);

}  // namespace tg::gateway
