#include "node/usage_statement.h"

#include <fmt/format.h>

#include "base/bytes.h"

namespace tg::node {

TokensDigest::TokensDigest(std::span<const TokenId> prompt) {
  std::vector<u8> head;
  append_u64(head, prompt.size());
  sha_.update(head);
  hash(prompt);
}

void TokensDigest::add(std::span<const TokenId> output) {
  hash(output);
}

Digest TokensDigest::finish() {
  return sha_.finish();
}

void TokensDigest::hash(std::span<const TokenId> ids) {
  std::vector<u8> bytes;
  bytes.reserve(ids.size() * sizeof(u32));
  for (TokenId id : ids) append_u32(bytes, static_cast<u32>(id));
  sha_.update(bytes);
}

std::string statement_text(const UsageStatement& s) {
  const unit::Usage& u = s.usage;
  return fmt::format(
      "tokengrid-usage/1\nnode {}\nsession {:016x}\nrequest {}\nprompt {}\ncached {}\noutput "
      "{}\ntokens {}\nsteps {}\ndevice_ns {}\n",
      s.node, s.session, s.request, u.prompt_tokens, u.cached_tokens, u.output_tokens,
      to_hex(s.tokens), u.steps, u.attributed_ns);
}

std::string sign_statement(const std::string& text, const tlog::NoteSigner& signer) {
  tlog::Note note{.text = text, .signatures = {signer.sign(text)}};
  std::string whole = tlog::to_text(note);
  // After the text and the empty line.
  std::string line = whole.substr(text.size() + 1);
  if (line.ends_with('\n')) line.pop_back();
  return line;
}

Status check_statement(const std::string& text, const std::string& signature,
                       const UsageStatement& expected, const tlog::VerifierKey& key) {
  std::string wanted = statement_text(expected);
  if (text != wanted) {
    std::size_t at = 0;
    while (at < text.size() && at < wanted.size() && text[at] == wanted[at]) ++at;
    std::size_t line = wanted.rfind('\n', at == 0 ? 0 : at - 1);
    line = line == std::string::npos ? 0 : line + 1;
    auto line_of = [&](const std::string& of) {
      return line < of.size() ? of.substr(line, of.find('\n', line) - line)
                              : std::string("nothing");
    };
    return Error{Code::kCorrupt, fmt::format("states '{}' where '{}' came",
                                             line_of(text).substr(0, 100), line_of(wanted))};
  }
  TG_ASSIGN(tlog::Note note, tlog::parse_note(text + "\n" + signature + "\n"));
  switch (tlog::check_note(note, key)) {
    case tlog::NoteCheck::kSigned: return {};
    case tlog::NoteCheck::kNotSigned: return Error{Code::kDenied, "its usage is not signed by it"};
    case tlog::NoteCheck::kBadSignature: break;
  }
  return Error{Code::kDenied, "the signature of its usage is false"};
}

}  // namespace tg::node
