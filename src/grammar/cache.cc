#include "grammar/cache.h"

#include "grammar/gbnf.h"
#include "grammar/json_schema.h"
#include "grammar/regex.h"
#include "grammar/reply_grammar.h"

namespace tg::grammar {
namespace {

Result<Grammar> parse(const GrammarRequest& request) {
  switch (request.kind) {
    case GrammarKind::kFree: break;
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

// Lengths go in as well, so that no two shapes are one text.
Digest digest_of(const ReplyShape& shape) {
  Sha256 hash;
  u8 head[4] = {0xFF, static_cast<u8>(shape.text_kind), static_cast<u8>(shape.may_be_text),
                static_cast<u8>(shape.is_single_call)};
  hash.update(head);
  auto add = [&hash](std::string_view text) {
    u64 size = text.size();
    hash.update({reinterpret_cast<const u8*>(&size), sizeof(size)});
    hash.update({reinterpret_cast<const u8*>(text.data()), text.size()});
  };
  const CallLayout& c = shape.calls;
  for (const std::string* text :
       {&shape.text, &shape.text_open, &shape.think_open, &shape.think_close, &c.mark, &c.open,
        &c.middle, &c.close, &c.next, &c.end}) {
    add(*text);
  }
  for (const ToolShape& tool : shape.tools) {
    add(tool.name);
    add(tool.parameters);
  }
  return hash.finish();
}

}  // namespace

Result<std::shared_ptr<const CompiledGrammar>> compile_reply(
    const ReplyShape& shape, std::shared_ptr<const TokenTable> tokens) {
  TG_ASSIGN(Grammar grammar, reply_grammar(shape, tokens->markers()));
  return CompiledGrammar::create(grammar, std::move(tokens));
}

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
  return keep(key, {key, std::move(made), tokens});
}

Result<std::shared_ptr<const CompiledGrammar>> GrammarCache::get(
    const ReplyShape& shape, const std::shared_ptr<const TokenTable>& tokens) {
  Key key = {digest_of(shape), tokens.get()};
  if (std::shared_ptr<const CompiledGrammar> known = find(key)) return known;
  TG_ASSIGN(std::shared_ptr<const CompiledGrammar> made, compile_reply(shape, tokens));
  return keep(key, {key, std::move(made), tokens});
}

// Whoever was first is kept.
std::shared_ptr<const CompiledGrammar> GrammarCache::keep(const Key& key, Entry entry) {
  auto states_of = [](const Entry& e) {
    return static_cast<i64>(e.grammar->machine().states.size());
  };
  std::scoped_lock lock(mutex_);
  if (by_key_.count(key) != 0) return by_key_[key]->grammar;
  states_ += states_of(entry);
  entries_.push_front(std::move(entry));
  by_key_[key] = entries_.begin();
  while (entries_.size() > 1 &&
         (static_cast<i64>(entries_.size()) > capacity_ || states_ > kCacheStatesMax)) {
    states_ -= states_of(entries_.back());
    by_key_.erase(entries_.back().key);
    entries_.pop_back();
  }
  return entries_.front().grammar;
}

i64 GrammarCache::size() const {
  std::scoped_lock lock(mutex_);
  return static_cast<i64>(entries_.size());
}

}  // namespace tg::grammar
