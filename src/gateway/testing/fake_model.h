// A model for tests whose 256 first tokens are the bytes, so that ids can be read.
#pragma once

#include <memory>
#include <string>

#include "gateway/served_model.h"
#include "text/byte_alphabet.h"

namespace tg::gateway {

inline constexpr TokenId kImStart = 256;
inline constexpr TokenId kImEnd = 257;

inline std::string utf8_of(u32 c) {
  if (c < 0x80) return std::string(1, static_cast<char>(c));
  return {static_cast<char>(0xC0 | c >> 6), static_cast<char>(0x80 | (c & 0x3F))};
}

inline std::shared_ptr<const Tokenizer> byte_tokenizer() {
  Vocab vocab;
  for (u32 byte = 0; byte < 256; ++byte) {
    vocab.tokens.push_back(utf8_of(alphabet_char(static_cast<u8>(byte))));
  }
  vocab.types.assign(256, TokenType::kNormal);
  vocab.tokens.push_back("<|im_start|>");
  vocab.tokens.push_back("<|im_end|>");
  vocab.types.insert(vocab.types.end(), 2, TokenType::kControl);
  vocab.eos = kImEnd;
  return std::make_shared<const Tokenizer>(Tokenizer::create(std::move(vocab)).value());
}

inline ChatTemplate chat_template() {
  return ChatTemplate::parse(
             "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n"
             "{% endfor %}<|im_start|>assistant\n")
      .value();
}

// Shows tools and calls as Hermes does, and reasoning between <think> tags.
inline ChatTemplate tool_template() {
  return ChatTemplate::parse(
             "{% if tools %}<|im_start|>system\n{{ tools | tojson }}<|im_end|>\n{% endif %}"
             "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}"
             "{% if m.tool_calls %}{% for c in m.tool_calls %}<tool_call>"
             "{\"name\": \"{{ c.function.name }}\", \"arguments\": "
             "{{ c.function.arguments | tojson }}}</tool_call>{% endfor %}{% endif %}<|im_end|>\n"
             "{% endfor %}<|im_start|>assistant\n"
             "{% if enable_thinking is defined and not enable_thinking %}<think>\n\n</think>\n\n"
             "{% endif %}")
      .value();
}

inline ServedModel fake_model(std::string id, fleet::Supplier* supplier) {
  std::shared_ptr<const Tokenizer> tokenizer = byte_tokenizer();
  return {.id = std::move(id),
          .created = 1'700'000'000,
          .tokenizer = tokenizer,
          .guard = std::make_shared<const ControlGuard>(*tokenizer),
          .chat_template = chat_template(),
          .supplier = supplier,
          .program = "0123456789abcdef0123456789abcdef",
          .context_max = 100'000,
          .grammars =
              std::make_shared<grammar::ModelGrammars>(std::make_shared<const grammar::TokenTable>(
                  grammar::TokenTable::create(*tokenizer).value()))};
}

}  // namespace tg::gateway
