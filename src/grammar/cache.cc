#include "grammar/cache.h"

#include "grammar/gbnf.h"
#include "grammar/json_schema.h"
#include "grammar/regex.h"

namespace tg::grammar {
namespace {

Result<Grammar> parse(const GrammarRequest& request) {
  switch (request.kind) {
    case GrammarKind::kJsonObject: return any_json_object(request.json);
    case GrammarKind::kJsonSchema: return parse_json_schema(request.text, request.json);
    case GrammarKind::kRegex: return parse_regex(request.text);
    case GrammarKind::kGbnf: return parse_gbnf(request.text);
  }
  return Error{Code::kInvalid, "grammar: kind " + std::to_string(static_cast<int>(request.kind))};
}

Digest digest_of(const GrammarRequest& request) {
  Sha256 hash;
  u8 head[2] = {static_cast<u8>(request.kind), static_cast<u8>(request.json.is_compact)};
  hash.update(head);
  hash.update({reinterpret_cast<const u8*>(request.text.data()), request.text.size()});
  return hash.finish();
}

}  // namespace

Result<std::shared_ptr<const CompiledGrammar>> compile_grammar(
    const GrammarRequest& request, std::shared_ptr<const TokenTable> tokens) {
  TG_ASSIGN(Grammar grammar, parse(request));
  return CompiledGrammar::create(grammar, std::move(tokens));
}

std::shared_ptr<const CompiledGrammar> GrammarCache::find(const Key& key) {
  std::scoped_lock lock(mutex_);
  std::map<Key, std::list<Entry>::iterator>::iterator found = by_key_.find(key);
  if (found == by_key_.end()) return nullptr;
  entries_.splice(entries_.begin(), entries_, found->second);
  return found->second->grammar;
}

Result<std::shared_ptr<const CompiledGrammar>> GrammarCache::get(
    const GrammarRequest& request, const std::shared_ptr<const TokenTable>& tokens) {
  Key key = {digest_of(request), tokens.get()};
  if (std::shared_ptr<const CompiledGrammar> known = find(key)) return known;
  TG_ASSIGN(std::shared_ptr<const CompiledGrammar> made, compile_grammar(request, tokens));
  std::scoped_lock lock(mutex_);
  if (by_key_.count(key) != 0) return by_key_[key]->grammar;
  entries_.push_front({key, made, tokens});
  by_key_[key] = entries_.begin();
  if (static_cast<i64>(entries_.size()) > capacity_) {
    by_key_.erase(entries_.back().key);
    entries_.pop_back();
  }
  return made;
}

i64 GrammarCache::size() const {
  std::scoped_lock lock(mutex_);
  return static_cast<i64>(entries_.size());
}

}  // namespace tg::grammar
