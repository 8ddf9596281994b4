#include "text/normalizer.h"

#include <algorithm>
#include <array>

#include "base/bytes.h"
#include "text/pieces.h"
#include "text/unicode.h"
#include "text/unicode_forms.h"

namespace tg {
namespace {

using Kind = NormalizeStep::Kind;

// Calls use(character, its bytes) for each character.
template <typename Use>
void each_character(std::string_view text, const Use& use) {
  for (std::size_t at = 0; at < text.size();) {
    std::size_t size = static_cast<std::size_t>(utf8_size(static_cast<u8>(text[at])));
    use(utf8_decode(text, static_cast<i64>(at)), text.substr(at, size));
    at += size;
  }
}

bool is_space(u32 c) {
  return (char_flags(c) & kCharSpace) != 0;
}

Error too_long() {
  return {Code::kLimit,
          "normalize: text exceeds " + std::to_string(Normalizer::kOutputBytesMax) + " bytes"};
}

std::string lowered(std::string_view text) {
  std::string out;
  out.reserve(text.size());
  each_character(text, [&](u32 c, std::string_view) { unicode::append_lower(out, c); });
  return out;
}

template <typename IsDropped>
std::string without(std::string_view text, const IsDropped& is_dropped) {
  std::string out;
  out.reserve(text.size());
  each_character(text, [&](u32 c, std::string_view bytes) {
    if (!is_dropped(c)) out += bytes;
  });
  return out;
}

// Controls, save the three that count as white space.
bool is_bert_control(u32 c) {
  return c != '\t' && c != '\n' && c != '\r' && unicode::is_control(c);
}

std::string cleaned(std::string_view text) {
  std::string out;
  out.reserve(text.size());
  each_character(text, [&](u32 c, std::string_view bytes) {
    if (c == kReplacementChar || is_bert_control(c)) return;
    if (is_space(c)) {
      out.push_back(' ');
    } else {
      out += bytes;
    }
  });
  return out;
}

// The blocks BERT's own code lists. One of them begins at U+2B920 and not at U+2B820 in the
// implementation that models are used with.
bool is_cjk(u32 c) {
  struct Block {
    u32 first;
    u32 last;
  };
  static constexpr std::array<Block, 8> kBlocks = {{{0x4E00, 0x9FFF},
                                                    {0x3400, 0x4DBF},
                                                    {0x20000, 0x2A6DF},
                                                    {0x2A700, 0x2B73F},
                                                    {0x2B740, 0x2B81F},
                                                    {0x2B920, 0x2CEAF},
                                                    {0xF900, 0xFAFF},
                                                    {0x2F800, 0x2FA1F}}};
  return std::any_of(kBlocks.begin(), kBlocks.end(),
                     [&](const Block& block) { return c >= block.first && c <= block.last; });
}

std::string with_spaced_cjk(std::string_view text) {
  std::string out;
  out.reserve(text.size());
  each_character(text, [&](u32 c, std::string_view bytes) {
    bool is_ideograph = is_cjk(c);
    if (is_ideograph) out.push_back(' ');
    out += bytes;
    if (is_ideograph) out.push_back(' ');
  });
  return out;
}

Result<std::string> mapped(const Charsmap& map, std::string_view text) {
  std::string out;
  out.reserve(text.size());
  for (std::size_t at = 0; at < text.size();) {
    Charsmap::Match match = map.longest(text, static_cast<i64>(at));
    std::size_t size = static_cast<std::size_t>(
        match.size > 0 ? match.size : utf8_size(static_cast<u8>(text[at])));
    out += match.size > 0 ? match.replacement : text.substr(at, size);
    if (out.size() > Normalizer::kOutputBytesMax) return too_long();
    at += size;
  }
  return out;
}

Result<std::string> replaced(std::string_view text, std::string_view from, std::string_view to) {
  std::string out;
  out.reserve(text.size());
  for (std::size_t at = 0; at < text.size();) {
    std::size_t found = std::min(text.find(from, at), text.size());
    out += text.substr(at, found - at);
    if (found == text.size()) break;
    out += to;
    if (out.size() > Normalizer::kOutputBytesMax) return too_long();
    at = found + from.size();
  }
  return out;
}

std::string_view stripped_left(std::string_view text) {
  while (!text.empty() && is_space(utf8_decode(text, 0)))
    text.remove_prefix(static_cast<std::size_t>(utf8_size(static_cast<u8>(text[0]))));
  return text;
}

std::string_view stripped_right(std::string_view text) {
  std::size_t kept = 0;
  std::size_t at = 0;
  each_character(text, [&](u32 c, std::string_view bytes) {
    at += bytes.size();
    if (!is_space(c)) kept = at;
  });
  return text.substr(0, kept);
}

Result<std::string> with_joined_spaces(std::string_view text, std::string_view to) {
  std::string out;
  out.reserve(text.size());
  for (std::size_t at = 0; at < text.size();) {
    std::size_t end = std::min(text.find_first_not_of(' ', at), text.size());
    if (end - at >= 2) {
      out += to;
      if (out.size() > Normalizer::kOutputBytesMax) return too_long();
      at = end;
    } else {
      out.push_back(text[at++]);
    }
  }
  return out;
}

Status check_step(const NormalizeStep& step) {
  for (const std::string* text : {&step.from, &step.to}) {
    if (static_cast<i64>(text->size()) > Normalizer::kStepTextBytesMax)
      return Error{Code::kLimit, "vocab: a normalizer's text of " + std::to_string(text->size()) +
                                     " bytes, more than " +
                                     std::to_string(Normalizer::kStepTextBytesMax)};
    if (!is_utf8(*text)) return Error{Code::kInvalid, "vocab: a normalizer's text is not UTF-8"};
  }
  if (step.kind == Kind::kReplace && step.from.empty())
    return Error{Code::kInvalid, "vocab: a normalizer replaces the empty text"};
  return {};
}

}  // namespace

std::string joined_words(std::string_view text) {
  std::string out;
  out.reserve(text.size());
  bool follows_space = false;
  each_character(text, [&](u32 c, std::string_view bytes) {
    if (is_space(c)) {
      follows_space = !out.empty();
      return;
    }
    if (follows_space && bytes != kSpmSpace) out.push_back(' ');
    follows_space = false;
    out += bytes;
  });
  return out;
}

bool is_bert_punctuation(u32 c) {
  if ((char_flags(c) & kCharPunctuation) != 0) return true;
  return c < 0x80 && (char_flags(c) & kCharSymbol) != 0;
}

Result<Normalizer> Normalizer::create(std::vector<NormalizeStep> steps, std::string_view charsmap) {
  if (static_cast<i64>(steps.size()) > kStepsMax)
    return Error{Code::kLimit, "vocab: " + std::to_string(steps.size()) + " normalizers"};
  Normalizer normalizer;
  for (const NormalizeStep& step : steps) {
    TG_TRY(check_step(step));
    if (step.kind == Kind::kCharsmap) {
      TG_ASSIGN(normalizer.charsmap_, Charsmap::create(charsmap));
    }
  }
  normalizer.steps_ = std::move(steps);
  return normalizer;
}

Result<std::string> Normalizer::apply_step(const NormalizeStep& step, std::string_view text) const {
  switch (step.kind) {
    case Kind::kNfc: return unicode::normalize(text, unicode::Form::kNfc);
    case Kind::kNfd: return unicode::normalize(text, unicode::Form::kNfd);
    case Kind::kNfkc: return unicode::normalize(text, unicode::Form::kNfkc);
    case Kind::kNfkd: return unicode::normalize(text, unicode::Form::kNfkd);
    case Kind::kLowercase: return lowered(text);
    case Kind::kStripAccents: return without(text, unicode::is_nonspacing_mark);
    case Kind::kStripMarks:
      return without(text, [](u32 c) { return (char_flags(c) & kCharMark) != 0; });
    case Kind::kCleanControl: return cleaned(text);
    case Kind::kSpaceCjk: return with_spaced_cjk(text);
    case Kind::kCharsmap: return mapped(charsmap_, text);
    case Kind::kReplace: return replaced(text, step.from, step.to);
    case Kind::kPrepend: return text.empty() ? std::string() : step.to + std::string(text);
    case Kind::kStripLeft: return std::string(stripped_left(text));
    case Kind::kStripRight: return std::string(stripped_right(text));
    case Kind::kJoinSpaces: return with_joined_spaces(text, step.to);
  }
  TG_ASSERT(false);
  return std::string(text);
}

Result<std::string> Normalizer::apply(std::string_view text) const {
  std::string current(text);
  for (const NormalizeStep& step : steps_) {
    TG_ASSIGN(current, apply_step(step, current));
    if (current.size() > kOutputBytesMax) return too_long();
  }
  return current;
}

}  // namespace tg
