// Any bytes as tokenizer.json (and as its config) are refused or give a vocabulary that a tokenizer
// can be asked about: what it encodes it decodes without a crash, and ids are in range.
#include <cstdlib>

#include "base/bytes.h"
#include "text/huggingface/tokenizer_json.h"
#include "text/tokenizer.h"

namespace {

constexpr std::string_view kTexts[] = {
    "hello  hello 1212, <s>he<|user|> \u4e2d\u6587 e\u0301\u0323 \U0001F600\U0001F600 I'LL\r\n",
    "\u2581 \u2581\u2581a\ufb01\u1112\u1161\u11ab<mask>  word\t[UNK]##s \u200d\ue000",
};

void check(const tg::Tokenizer& tokenizer, std::string_view text, bool special) {
  tg::Result<std::vector<tg::TokenId>> ids =
      tokenizer.encode(text, {.add_bos = true, .add_eos = true, .parse_special = special});
  // Normalizing may make a text too long; nothing else about it is wrong.
  if (!ids.ok()) {
    if (ids.error().code != tg::Code::kLimit) std::abort();
    return;
  }
  for (tg::TokenId id : *ids)
    if (id < 0 || id >= tokenizer.size()) std::abort();
  tokenizer.decode(*ids, special);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  std::string_view json(reinterpret_cast<const char*>(data), size);
  tg::Result<tg::Vocab> vocab =
      tg::huggingface::read_vocab({json, size % 2 == 0 ? json : std::string_view(), ""});
  if (!vocab.ok()) return 0;
  tg::Result<tg::Tokenizer> tokenizer = tg::Tokenizer::create(std::move(vocab).value());
  if (!tokenizer.ok()) return 0;
  for (std::string_view text : kTexts)
    for (bool special : {false, true}) check(*tokenizer, text, special);
  return 0;
}
