// BPE over characters, unigram and WordPiece on vocabularies small enough to check by hand; what
// special tokens take with them.
#include <gtest/gtest.h>

#include "text/detokenizer.h"
#include "text/small_vocab.h"
#include "text/tokenizer.h"

namespace tg {
namespace {

Tokenizer make(Vocab vocab) {
  Result<Tokenizer> tokenizer = Tokenizer::create(std::move(vocab));
  EXPECT_TRUE(tokenizer.ok()) << (tokenizer.ok() ? "" : tokenizer.error().message);
  return std::move(tokenizer).value();
}

std::string pieces_of(const Tokenizer& tokenizer, std::string_view text) {
  Result<std::vector<TokenId>> ids = tokenizer.encode(text, {.parse_special = true});
  EXPECT_TRUE(ids.ok());
  std::string out;
  for (TokenId id : *ids)
    out += (out.empty() ? "" : "|") + std::string(tokenizer.vocab().tokens[id]);
  return out;
}

std::string round_trip(const Tokenizer& tokenizer, std::string_view text) {
  return tokenizer.decode(tokenizer.encode(text, {}).value());
}

Vocab vocab_of(VocabKind kind, std::initializer_list<const char*> specials,
               std::initializer_list<const char*> tokens) {
  Vocab vocab;
  vocab.kind = kind;
  for (const char* token : specials) {
    vocab.tokens.push_back(token);
    vocab.types.push_back(TokenType::kControl);
  }
  vocab.types[0] = TokenType::kUnknown;
  vocab.unknown = 0;
  for (const char* token : tokens) {
    vocab.tokens.push_back(token);
    vocab.types.push_back(TokenType::kNormal);
  }
  return vocab;
}

Vocab tiny_character_vocab() {
  Vocab vocab = vocab_of(VocabKind::kCharacterBpe, {"<unk>", "<s>"},
                         {"\u2581", "a", "b", "c", "ab", "bc", "\u2581a", "abc", "\u2581\u2581"});
  vocab.merges = {"b c", "a b", "\u2581 a", "a bc", "\u2581 \u2581"};
  return vocab;
}

TEST(CharacterBpe, MergesByRank) {
  Tokenizer tokenizer = make(tiny_character_vocab());
  EXPECT_EQ(pieces_of(tokenizer, "abc ab abab"), "abc|\u2581|ab|\u2581|ab|ab");
  EXPECT_EQ(pieces_of(tokenizer, "   a"), "\u2581\u2581|\u2581a");
  EXPECT_EQ(pieces_of(tokenizer, "axyb"), "a|<unk>|<unk>|b");
  EXPECT_EQ(round_trip(tokenizer, " abc  ab"), " abc  ab");
  Vocab fused = tiny_character_vocab();
  fused.fuses_unknown = true;
  EXPECT_EQ(pieces_of(make(fused), "axyb"), "a|<unk>|b");
}

TEST(CharacterBpe, PutsSpacesInFront) {
  struct Case {
    SpacePrefix prefix;
    const char* text;
    const char* expected;
  };
  const Case kCases[] = {
      {SpacePrefix::kNever, "a<s>a", "a|<s>|a"},
      {SpacePrefix::kFirst, "a<s>a", "\u2581a|<s>|a"},
      {SpacePrefix::kFirst, "<s>a", "<s>|a"},
      {SpacePrefix::kAlways, "a<s>a", "\u2581a|<s>|\u2581a"},
      {SpacePrefix::kAlways, " a", "\u2581a"},
      {SpacePrefix::kAlways, "\u2581a", "\u2581a"},
      {SpacePrefix::kAlways, "", ""},
  };
  for (const Case& c : kCases) {
    Vocab vocab = tiny_character_vocab();
    vocab.space_prefix = c.prefix;
    vocab.add_space_prefix = c.prefix != SpacePrefix::kNever;
    EXPECT_EQ(pieces_of(make(vocab), c.text), c.expected) << c.text;
  }
  Vocab split = tiny_character_vocab();
  split.splits_at_spaces = true;
  EXPECT_EQ(pieces_of(make(split), "  a"), "\u2581|\u2581a");
}

TEST(CharacterBpe, MergesToNoControlToken) {
  Vocab vocab = tiny_character_vocab();
  vocab.merges.insert(vocab.merges.begin(), "a c");
  vocab.tokens[1] = "ac";
  Tokenizer tokenizer = make(vocab);
  EXPECT_EQ(tokenizer.encode("ac", {}).value(), (std::vector<TokenId>{3, 5}));
  EXPECT_EQ(tokenizer.encode("ac", {.parse_special = true}).value(), (std::vector<TokenId>{1}));
}

TEST(CharacterBpe, RefusesBadMerges) {
  for (const char* merge : {"ab", "a z", "a a", "<s> a", " a"}) {
    Vocab vocab = tiny_character_vocab();
    vocab.merges[1] = merge;
    EXPECT_EQ(Tokenizer::create(vocab).error().message,
              "vocab: merge 1 \"" + std::string(merge) + "\" is not of tokens");
  }
  Vocab vocab = tiny_character_vocab();
  vocab.unknown = -1;
  EXPECT_EQ(Tokenizer::create(vocab).error().message,
            "vocab: neither all byte tokens nor an unknown token");
}

Vocab tiny_unigram_vocab() {
  Vocab vocab = vocab_of(VocabKind::kUnigram, {"<unk>", "</s>"},
                         {"\u2581", "a", "b", "ab", "aba", "\u2581ab", "ba"});
  vocab.scores = {0, 0, -2, -3, -3, -5, -9, -6, -4};
  vocab.space_prefix = SpacePrefix::kAlways;
  vocab.add_space_prefix = true;
  return vocab;
}

TEST(Unigram, TakesTheBestWay) {
  Tokenizer tokenizer = make(tiny_unigram_vocab());
  EXPECT_EQ(pieces_of(tokenizer, "ab"), "\u2581ab");
  // "_ab a" and "_ a ba" are -9, "_ aba" is -11: of equals that stays whose last piece begins
  // first.
  EXPECT_EQ(pieces_of(tokenizer, "aba"), "\u2581|a|ba");
  EXPECT_EQ(pieces_of(tokenizer, "b ab"), "\u2581|b|\u2581ab");
  EXPECT_EQ(pieces_of(tokenizer, "axyb"), "\u2581|a|<unk>|b");
  EXPECT_EQ(pieces_of(tokenizer, "\U0001F600"), "\u2581|<unk>");
  EXPECT_EQ(pieces_of(tokenizer, ""), "");
  EXPECT_EQ(round_trip(tokenizer, "ab ba"), "ab ba");
  Vocab vocab = tiny_unigram_vocab();
  vocab.joins_words = true;
  EXPECT_EQ(pieces_of(make(vocab), "\n ab\t\u3000b "), "\u2581ab|\u2581|b");
}

TEST(Unigram, RefusesBadScores) {
  Vocab vocab = tiny_unigram_vocab();
  vocab.scores[4] = -HUGE_VALF;
  EXPECT_EQ(Tokenizer::create(vocab).error().message, "vocab: a score is not a finite number");
  vocab.scores.pop_back();
  EXPECT_EQ(Tokenizer::create(vocab).error().message, "vocab: 8 scores for 9 tokens");
  vocab = tiny_unigram_vocab();
  vocab.unknown = -1;
  EXPECT_EQ(Tokenizer::create(vocab).error().message, "vocab: no unknown token");
}

TEST(WordPiece, TakesTheLongestPieces) {
  Tokenizer tokenizer = make(small_word_piece_vocab());
  EXPECT_EQ(pieces_of(tokenizer, "Unable, \u00c2ab."), "\u2581un|able|\u2581,|\u2581a|ab|\u2581.");
  EXPECT_EQ(pieces_of(tokenizer, "un cable"), "\u2581un|[UNK]");
  EXPECT_EQ(pieces_of(tokenizer, "a\u4e2da~\u200db"), "\u2581a|\u2581\u4e2d|\u2581a|\u2581~|[UNK]");
  // A U+2581 in the text is no mark of a word's start.
  EXPECT_EQ(pieces_of(tokenizer, "a\u2581a"), "[UNK]");
  EXPECT_EQ(pieces_of(tokenizer, " \n"), "");
  Vocab vocab = small_word_piece_vocab();
  vocab.word_chars_max = 3;
  EXPECT_EQ(pieces_of(make(vocab), "abb abbb \u00e2bb"), "\u2581a|b|b|[UNK]|\u2581a|b|b");
}

TEST(WordPiece, DecodesWithSpacesBetweenWords) {
  Tokenizer tokenizer = make(small_word_piece_vocab());
  std::vector<TokenId> ids =
      tokenizer.encode("unable, a. a~", {.add_bos = true, .add_eos = true}).value();
  EXPECT_EQ(ids.front(), 1);
  EXPECT_EQ(ids.back(), 2);
  EXPECT_EQ(tokenizer.decode(ids), "unable, a. a ~");
  Detokenizer stream(tokenizer);
  std::string streamed;
  for (TokenId id : ids) streamed += stream.push(id);
  EXPECT_EQ(streamed + stream.flush(), "unable, a. a ~");
}

TEST(SpecialTokens, TakeWhatTheirFlagsSay) {
  struct Case {
    u8 flags;
    const char* text;
    const char* expected;
  };
  const Case kCases[] = {
      {0, "a <s> a", "a|\u2581|<s>|\u2581a"},
      {kMatchLeftSpace, "a \n<s> a", "a|<s>|\u2581a"},
      {kMatchRightSpace, "a <s>\u3000 a", "a|\u2581|<s>|a"},
      {kMatchLeftSpace | kMatchRightSpace, "<s> <s> <s>", "<s>|<s>|<s>"},
      {kMatchWholeWord, "a<s>a", "a|<unk>|<unk>|<unk>|a"},
      {kMatchWholeWord, "a <s>", "a|\u2581|<s>"},
      {kMatchNormalized, "a<S>", "a|<s>"},
  };
  for (const Case& c : kCases) {
    Vocab vocab = tiny_character_vocab();
    vocab.normalizers = {{NormalizeStep::Kind::kLowercase, "", ""}};
    vocab.match_flags.assign(vocab.tokens.size(), 0);
    vocab.match_flags[1] = c.flags;
    EXPECT_EQ(pieces_of(make(vocab), c.text), c.expected) << c.text;
  }
  Vocab vocab = tiny_character_vocab();
  vocab.match_flags = {1, 2};
  EXPECT_EQ(Tokenizer::create(vocab).error().message, "vocab: 2 match flags for 11 tokens");
  vocab.match_flags.assign(vocab.tokens.size(), 16);
  EXPECT_EQ(Tokenizer::create(vocab).error().message, "vocab: match flags 16");
}

TEST(Tokenizer, PutsAllOfTheBeginningInFront) {
  Vocab vocab = tiny_character_vocab();
  vocab.bos = 1;
  vocab.after_bos = {3, 4};
  Tokenizer tokenizer = make(vocab);
  EXPECT_EQ(tokenizer.encode("c", {.add_bos = true}).value(), (std::vector<TokenId>{1, 3, 4, 5}));
  EXPECT_EQ(tokenizer.encode("c", {}).value(), (std::vector<TokenId>{5}));
}

}  // namespace
}  // namespace tg
