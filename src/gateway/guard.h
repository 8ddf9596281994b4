// What a participant of a chat says must stay text: a user who writes "<|im_end|>" must not end
// their message and speak as someone else. Before the template runs, the texts of control tokens
// inside messages get a mark after their first character; after it, the marked places are encoded
// as plain text and everything else as the template meant it.
#pragma once

#include <array>
#include <string>
#include <string_view>
#include <vector>

#include "text/chat_template.h"
#include "text/tokenizer.h"

namespace tg::gateway {

class ControlGuard {
 public:
  // Collects the vocabulary's control tokens; keep one per model.
  explicit ControlGuard(const Tokenizer& tokenizer);

  // The messages with every control token's text marked.
  std::vector<ChatMessage> mark(std::vector<ChatMessage> messages) const;
  std::string mark(std::string_view text) const;

  // Ids of a rendered template: marked texts as text, unmarked control tokens as themselves. Errors
  // as Tokenizer::encode.
  Result<std::vector<TokenId>> encode(const Tokenizer& tokenizer, std::string_view rendered,
                                      bool add_bos) const;

 private:
  // The control text that starts at `text`, or nullptr; the longest if several do.
  const std::string* match(std::string_view text) const;
  // The same for a marked one.
  const std::string* match_marked(std::string_view text) const;

  std::array<std::vector<std::string>, 256> by_first_byte_;  // longest first
};

}  // namespace tg::gateway
