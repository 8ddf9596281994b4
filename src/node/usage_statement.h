// What a node signs when a request ends: how many tokens it took and gave, and which. The gateway
// has the same tokens, so that a node cannot sign for others, nor later deny these.
#pragma once

#include <span>
#include <string>

#include "base/hash.h"
#include "base/result.h"
#include "text/vocab.h"
#include "tlog/note.h"
#include "unit/usage.h"

namespace tg::node {

// Hashes prompt and output ids of one request as they pass.
class TokensDigest {
 public:
  explicit TokensDigest(std::span<const TokenId> prompt);
  void add(std::span<const TokenId> output);
  // Once.
  Digest finish();

 private:
  void hash(std::span<const TokenId> ids);
  Sha256 sha_;
};

struct UsageStatement {
  std::string node;
  u64 session = 0;
  u64 request = 0;
  unit::Usage usage;
  Digest tokens{};
};

// The note's text: a line per field, a newline at its end.
std::string statement_text(const UsageStatement& statement);
// The note's signature as one line, without a newline.
std::string sign_statement(const std::string& text, const tlog::NoteSigner& signer);

// Whether `text` and `signature` are a statement of `expected` by `key`. kDenied for a signature of
// somebody else, kCorrupt for another text; the message says what differs.
Status check_statement(const std::string& text, const std::string& signature,
                       const UsageStatement& expected, const tlog::VerifierKey& key);

}  // namespace tg::node
