// The grammars compiled last, by what they were asked for: tools and schemas come again with every
// request of a conversation.
#pragma once

#include <list>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>

#include "base/hash.h"
#include "base/result.h"
#include "grammar/json_text.h"
#include "grammar/matcher.h"
#include "grammar/reply_shape.h"

namespace tg::grammar {

struct GrammarRequest {
  GrammarKind kind = GrammarKind::kJsonObject;
  std::string_view text;
  JsonOptions json;  // For the JSON kinds.
};

// Parses and compiles. Errors as the parser and compile_machine: kInvalid, kUnsupported, kNotFound
// and kLimit are the client's.
Result<std::shared_ptr<const CompiledGrammar>> compile_grammar(
    const GrammarRequest& request, std::shared_ptr<const TokenTable> tokens);

// The same for a whole reply; `shape.written` is the matcher's business.
Result<std::shared_ptr<const CompiledGrammar>> compile_reply(
    const ReplyShape& shape, std::shared_ptr<const TokenTable> tokens);

// Most states of the machines that a cache keeps, the one used last apart.
inline constexpr i64 kCacheStatesMax = i64{1} << 22;

// Threads may share one. Two that ask for the same new grammar at once may both compile it.
class GrammarCache {
 public:
  // REQUIRES: capacity at least 1.
  explicit GrammarCache(i64 capacity) : capacity_(capacity) { TG_ASSERT(capacity >= 1); }

  // The grammar, from the cache or compiled now. Errors are not kept.
  Result<std::shared_ptr<const CompiledGrammar>> get(
      const GrammarRequest& request, const std::shared_ptr<const TokenTable>& tokens);
  Result<std::shared_ptr<const CompiledGrammar>> get(
      const ReplyShape& shape, const std::shared_ptr<const TokenTable>& tokens);
  i64 size() const;

 private:
  // A digest of the request, and the vocabulary. The entry keeps the vocabulary alive, so that its
  // address stays its own.
  using Key = std::pair<Digest, const TokenTable*>;
  struct Entry {
    Key key;
    std::shared_ptr<const CompiledGrammar> grammar;
    std::shared_ptr<const TokenTable> tokens;
  };

  std::shared_ptr<const CompiledGrammar> find(const Key& key);
  std::shared_ptr<const CompiledGrammar> keep(const Key& key, Entry entry);

  const i64 capacity_;
  mutable std::mutex mutex_;
  std::list<Entry> entries_;  // The one used last in front.
  std::map<Key, std::list<Entry>::iterator> by_key_;
  i64 states_ = 0;  // Of all machines.
};

// One model's vocabulary and the grammars compiled for it: shared between who checks what clients
// ask for and who runs it, so that each grammar is compiled once.
class ModelGrammars {
 public:
  static constexpr i64 kKept = 128;
  explicit ModelGrammars(std::shared_ptr<const TokenTable> tokens)
      : tokens_(std::move(tokens)), cache_(kKept) {}

  // Takes milliseconds, for hostile grammars seconds: not for a thread that others wait for.
  Result<std::shared_ptr<const CompiledGrammar>> get(const ReplyShape& shape) {
    return cache_.get(shape, tokens_);
  }
  const TokenTable& tokens() const { return *tokens_; }

 private:
  std::shared_ptr<const TokenTable> tokens_;
  GrammarCache cache_;
};

}  // namespace tg::grammar
