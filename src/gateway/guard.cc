#include "gateway/guard.h"

#include <algorithm>

namespace tg::gateway {

namespace {

// U+10FFFD, a private-use character that no vocabulary gives a meaning.
constexpr std::string_view kMark = "\xF4\x8F\xBF\xBD";

std::size_t first_character_bytes(std::string_view text) {
  std::size_t n = 1;
  while (n < text.size() && (static_cast<u8>(text[n]) & 0xC0) == 0x80) ++n;
  return n;
}

bool starts_with_marked(std::string_view text, std::string_view control) {
  std::size_t head = first_character_bytes(control);
  return text.starts_with(control.substr(0, head)) && text.substr(head).starts_with(kMark) &&
         text.substr(head + kMark.size()).starts_with(control.substr(head));
}

Status append_ids(std::vector<TokenId>& ids, Result<std::vector<TokenId>> more) {
  if (!more.ok()) return std::move(more).error();
  ids.insert(ids.end(), more->begin(), more->end());
  return {};
}

}  // namespace

ControlGuard::ControlGuard(const Tokenizer& tokenizer) {
  const Vocab& vocab = tokenizer.vocab();
  for (std::size_t id = 0; id < vocab.tokens.size(); ++id) {
    const std::string& text = vocab.tokens[id];
    if (text.empty() || !tokenizer.is_special(static_cast<TokenId>(id))) continue;
    by_first_byte_[static_cast<u8>(text[0])].push_back(text);
  }
  for (std::vector<std::string>& texts : by_first_byte_) {
    std::sort(texts.begin(), texts.end(),
              [](const std::string& a, const std::string& b) { return a.size() > b.size(); });
  }
}

const std::string* ControlGuard::match(std::string_view text) const {
  for (const std::string& control : by_first_byte_[static_cast<u8>(text[0])]) {
    if (text.starts_with(control)) return &control;
  }
  return nullptr;
}

const std::string* ControlGuard::match_marked(std::string_view text) const {
  for (const std::string& control : by_first_byte_[static_cast<u8>(text[0])]) {
    if (starts_with_marked(text, control)) return &control;
  }
  return nullptr;
}

std::string ControlGuard::mark(std::string_view text) const {
  std::string out;
  for (std::size_t i = 0; i < text.size();) {
    std::size_t end = i;
    while (end < text.size() && by_first_byte_[static_cast<u8>(text[end])].empty()) ++end;
    out.append(text.substr(i, end - i));
    i = end;
    if (i == text.size()) break;
    const std::string* control = match(text.substr(i));
    if (control == nullptr) {
      out.push_back(text[i++]);
      continue;
    }
    std::size_t head = first_character_bytes(*control);
    out.append(text.substr(i, head))
        .append(kMark)
        .append(text.substr(i + head, control->size() - head));
    i += control->size();
  }
  return out;
}

std::vector<ChatMessage> ControlGuard::mark(std::vector<ChatMessage> messages) const {
  for (ChatMessage& message : messages) {
    message.role = mark(message.role);
    message.content = mark(message.content);
    for (auto& [name, json] : message.extra) json = mark(json);
  }
  return messages;
}

Result<std::vector<TokenId>> ControlGuard::encode(const Tokenizer& tokenizer,
                                                  std::string_view rendered, bool add_bos) const {
  std::vector<TokenId> ids;
  std::size_t from = 0;  // Start of what is not encoded yet.
  auto flush = [&](std::size_t to, bool is_last) -> Status {
    bool is_first = from == 0;
    if (from == to && !(is_first && is_last)) return {};
    return append_ids(ids,
                      tokenizer.encode(rendered.substr(from, to - from),
                                       {.add_bos = add_bos && is_first, .parse_special = true}));
  };
  for (std::size_t at = rendered.find(kMark); at != std::string_view::npos;
       at = rendered.find(kMark, at + kMark.size())) {
    std::size_t start = at;
    while (start > from && (static_cast<u8>(rendered[start - 1]) & 0xC0) == 0x80) --start;
    if (start == from) continue;
    --start;  // The character before the mark begins here.
    const std::string* control = match_marked(rendered.substr(start));
    if (control == nullptr) continue;
    TG_TRY(flush(start, false));
    TG_TRY(append_ids(ids, tokenizer.encode(*control, {.add_bos = add_bos && start == 0,
                                                       .parse_special = false})));
    from = start + control->size() + kMark.size();
  }
  TG_TRY(flush(rendered.size(), true));
  return ids;
}

}  // namespace tg::gateway
