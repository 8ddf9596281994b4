// A thousand random schemas: documents drawn at random from the masks, with the bundled model's
// vocabulary. That they are JSON is seen here; that they are valid is for a validator nobody here
// wrote (test/e2e/schema.test.mjs), for which they go to the file that TG_SCHEMA_SAMPLES names.
#include "grammar/random_schema.h"

#include <cstdlib>
#include <nlohmann/json.hpp>
#include <set>

#include "base/json_out.h"
#include "grammar/grammar_testing.h"
#include "text/published_vocab.h"

namespace tg::grammar {
namespace {

// All of them where someone waits for the file, fewer on every other run.
constexpr std::size_t kSchemas = 1000;
constexpr std::size_t kSchemasQuick = 150;
constexpr int kDocumentsEach = 3;

Tokenizer bundled_tokenizer() {
  std::string bytes = published::read_file(TG_SOURCE_DIR "/models/tokengrid-tiny.gguf");
  return Tokenizer::create(published::read_vocab(bytes).value()).value();
}

// Where a document should come to its end, the less a token opens the better.
int openness(std::string_view text) {
  static constexpr std::string_view kOrder = "}]\"n0123456789tf";
  std::size_t place = kOrder.find(text[0]);
  if (place != std::string_view::npos) return static_cast<int>(place);
  if (static_cast<u8>(text[0]) <= ' ') return 200;
  return text[0] == ',' || text[0] == '[' || text[0] == '{' ? 100 : 50;
}

// Whether JSON text so far ends inside a string.
bool is_in_string(std::string_view text) {
  bool is_inside = false;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (is_inside && text[i] == '\\') {
      ++i;
    } else if (text[i] == '"') {
      is_inside = !is_inside;
    }
  }
  return is_inside;
}

class Walk {
 public:
  Walk(const std::shared_ptr<const CompiledGrammar>& grammar, std::mt19937_64& random)
      : matcher_(grammar), tokens_(grammar->tokens()), random_(random) {}

  // The document, or the text so far if it does not end.
  std::string run() {
    constexpr int kFreeTokens = 60;
    constexpr int kTokensMax = 4000;
    std::string text;
    for (int i = 0; i < kTokensMax && !matcher_.is_finished(); ++i) {
      TokenId id = i < kFreeTokens ? any_token() : closing_token(is_in_string(text));
      if (id < 0) break;
      EXPECT_TRUE(matcher_.accept(id));
      text += tokens_.text(id);
    }
    return text;
  }
  bool is_finished() const { return matcher_.is_finished(); }

 private:
  std::vector<TokenId> allowed() {
    std::vector<u64> mask(static_cast<std::size_t>(matcher_.words()));
    matcher_.fill_mask(mask);
    std::vector<TokenId> ids;
    for (TokenId id = 0; id < tokens_.size(); ++id)
      if (testing::has_bit(mask, id)) ids.push_back(id);
    return ids;
  }

  // Of all tokens, or of those that begin with a byte drawn among the possible ones: else a string
  // would never end.
  TokenId any_token() {
    std::vector<TokenId> ids = allowed();
    if (ids.empty()) return -1;
    TokenId one = ids[random_() % ids.size()];
    if (random_() % 2 == 0 || tokens_.is_end(one)) return one;
    std::map<char, std::vector<TokenId>> by_byte;
    for (TokenId id : ids) by_byte[tokens_.is_end(id) ? '\0' : tokens_.text(id)[0]].push_back(id);
    std::map<char, std::vector<TokenId>>::iterator group = by_byte.begin();
    std::advance(group, static_cast<i64>(random_() % by_byte.size()));
    return group->second[random_() % group->second.size()];
  }

  // Strings are closed as soon as they may be; until then any character may be what is missing.
  TokenId closing_token(bool is_inside) {
    std::vector<TokenId> ids = allowed();
    TokenId best = -1;
    for (TokenId id : ids) {
      if (tokens_.is_end(id)) return id;
      if (tokens_.text(id) == "\"" && is_inside) return id;
      if (best < 0 || rank(id) < rank(best)) best = id;
    }
    return is_inside ? any_token() : best;
  }

  std::pair<int, std::size_t> rank(TokenId id) const {
    return {openness(tokens_.text(id)), tokens_.text(id).size()};
  }

  GrammarMatcher matcher_;
  const TokenTable& tokens_;
  std::mt19937_64& random_;
};

// What the tokenizer makes of a document is allowed token by token.
void expect_reachable(const std::shared_ptr<const CompiledGrammar>& grammar,
                      const Tokenizer& tokenizer, const std::string& document) {
  GrammarMatcher matcher(grammar);
  std::vector<u64> mask(static_cast<std::size_t>(matcher.words()));
  std::vector<TokenId> ids = tokenizer.encode(document, {}).value();
  for (TokenId id : ids) {
    matcher.fill_mask(mask);
    ASSERT_TRUE(testing::has_bit(mask, id)) << document;
    ASSERT_TRUE(matcher.accept(id)) << document;
  }
  EXPECT_TRUE(matcher.can_end()) << document;
}

TEST(RandomSchemas, DocumentsDrawnFromMasksAreWholeJson) {
  Tokenizer tokenizer = bundled_tokenizer();
  std::shared_ptr<const TokenTable> table =
      std::make_shared<const TokenTable>(TokenTable::create(tokenizer).value());
  const char* path = std::getenv("TG_SCHEMA_SAMPLES");
  std::ofstream out;
  if (path != nullptr) out.open(path);
  const char* count = std::getenv("TG_SCHEMA_COUNT");
  std::size_t wanted = path != nullptr ? kSchemas : kSchemasQuick;
  if (count != nullptr) wanted = static_cast<std::size_t>(std::atoll(count));
  std::mt19937_64 random(7);
  std::set<std::string> seen;
  for (u64 i = 0; seen.size() < wanted; ++i) {
    std::string schema = testing::RandomSchema(i).make();
    if (!seen.insert(schema).second) continue;
    SCOPED_TRACE("seed " + std::to_string(i) + ": " + schema);
    Result<std::shared_ptr<const CompiledGrammar>> grammar =
        testing::compile(i % 2 == 0 ? "schema" : "compact", schema, table);
    ASSERT_TRUE(grammar.ok()) << grammar.error().message;
    for (int d = 0; d < kDocumentsEach; ++d) {
      Walk walk(*grammar, random);
      std::string document = walk.run();
      ASSERT_TRUE(walk.is_finished()) << document;
      ASSERT_TRUE(nlohmann::json::accept(document)) << document;
      if (i % 10 == 0) expect_reachable(*grammar, tokenizer, document);
      std::string line;
      JsonWriter json(line);
      json.begin_object().key("schema").raw(schema).key("document").string(document).end_object();
      if (path != nullptr) out << line << "\n";
    }
  }
}

}  // namespace
}  // namespace tg::grammar
