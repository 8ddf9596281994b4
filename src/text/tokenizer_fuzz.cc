// Encoding any bytes gives ids or an error; ids decode back to the text, whole and streamed.
#include <cstdlib>

#include "base/bytes.h"
#include "text/detokenizer.h"
#include "text/small_vocab.h"
#include "text/tokenizer.h"

namespace {

std::vector<tg::Tokenizer> make_all() {
  std::vector<tg::Tokenizer> all;
  for (const char* pre :
       {"gpt-2", "llama-bpe", "qwen2", "qwen35", "starcoder", "falcon", "deepseek-coder", "gpt-4o",
        "tekken", "kimi-k2", "deepseek-v3", "deepseek-llm", "bloom", "minicpm5", "seed-coder"})
    all.push_back(tg::Tokenizer::create(tg::small_bpe_vocab(pre)).value());
  for (tg::Vocab vocab : {tg::small_spm_vocab(), tg::small_character_bpe_vocab(),
                          tg::small_unigram_vocab(), tg::small_word_piece_vocab()})
    all.push_back(tg::Tokenizer::create(std::move(vocab)).value());
  return all;
}

void check(const tg::Tokenizer& tokenizer, std::string_view text, bool special) {
  tg::Result<std::vector<tg::TokenId>> ids = tokenizer.encode(text, {.parse_special = special});
  if (ids.ok() != tg::is_utf8(text)) std::abort();
  if (!ids.ok()) return;
  tg::Detokenizer stream(tokenizer, {.show_special = true});
  std::string streamed;
  for (tg::TokenId id : *ids) streamed += stream.push(id);
  streamed += stream.flush();
  std::string decoded = tokenizer.decode(*ids, true);
  // SPM spells a space and U+2581 alike; WordPiece normalizes.
  bool is_lossy = tokenizer.vocab().kind == tg::VocabKind::kWordPiece;
  bool is_exact = !is_lossy && text.find("\xE2\x96\x81") == text.npos;
  if (streamed != decoded || (is_exact && decoded != text)) std::abort();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static const std::vector<tg::Tokenizer> all = make_all();
  if (size == 0) return 0;
  std::string_view text(reinterpret_cast<const char*>(data) + 1, size - 1);
  check(all[data[0] % all.size()], text, (data[0] & 0x80) != 0);
  return 0;
}
