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

namespace tg::grammar {

enum class GrammarKind : u8 {
  kJsonObject,  // Any object; no text.
  kJsonSchema,
  kRegex,
  kGbnf,
};

struct GrammarRequest {
  GrammarKind kind = GrammarKind::kJsonObject;
  std::string_view text;
  JsonOptions json;  // For the JSON kinds.
};

// Parses and compiles. Errors as the parser and compile_machine: kInvalid, kUnsupported, kNotFound
// and kLimit are the client's.
Result<std::shared_ptr<const CompiledGrammar>> compile_grammar(
    const GrammarRequest& request, std::shared_ptr<const TokenTable> tokens);

// Threads may share one. Two that ask for the same new grammar at once may both compile it.
class GrammarCache {
 public:
  // REQUIRES: capacity at least 1.
  explicit GrammarCache(i64 capacity) : capacity_(capacity) { TG_ASSERT(capacity >= 1); }

  // The grammar, from the cache or compiled now. Errors are not kept.
  Result<std::shared_ptr<const CompiledGrammar>> get(
      const GrammarRequest& request, const std::shared_ptr<const TokenTable>& tokens);
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

  const i64 capacity_;
  mutable std::mutex mutex_;
  std::list<Entry> entries_;  // The one used last in front.
  std::map<Key, std::list<Entry>::iterator> by_key_;
};

}  // namespace tg::grammar
