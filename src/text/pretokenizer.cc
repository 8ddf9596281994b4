// The tables: published expressions and what matches them, names and the passes they mean.
#include "text/pretokenizer.h"

#include "text/split_matchers.h"

namespace tg {
namespace {

using split::CasedStyle;
using split::WordStyle;

struct Published {
  std::string_view pattern;  // A line break is written \\n or \\r.
  MatchFn match;
  bool leaves_no_gaps;
};

constexpr Published kPublished[] = {
    {"'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+",
     split::gpt2, true},
    {"'(?:[sdmt]|ll|ve|re)| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+", split::gpt2,
     true},
    {"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}{1,3}| "
     "?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+",
     split::cl100k<WordStyle{}>, true},
    {"'(?i:[sdmt]|ll|ve|re)|[^\\r\\n\\p{L}\\p{N}]?+\\p{L}+|\\p{N}{1,3}| "
     "?[^\\s\\p{L}\\p{N}]++[\\r\\n]*|\\s*[\\r\\n]|\\s+(?!\\S)|\\s+",
     split::cl100k<WordStyle{}>, true},
    {"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}| "
     "?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+",
     split::cl100k<WordStyle{.digits_max = 1}>, true},
    {"'(?i:[sdmt]|ll|ve|re)|[^\\r\\n\\p{L}\\p{N}]?+\\p{L}+|\\p{N}| "
     "?[^\\s\\p{L}\\p{N}]++[\\r\\n]*|\\s*[\\r\\n]|\\s+(?!\\S)|\\s+",
     split::cl100k<WordStyle{.digits_max = 1}>, true},
    {"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}+| "
     "?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+",
     split::cl100k<WordStyle{.digits_max = 0}>, true},
    {"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?[\\p{L}\\p{M}]+|\\p{N}| "
     "?[^\\s\\p{L}\\p{M}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+",
     split::cl100k<WordStyle{.digits_max = 1, .takes_marks = true}>, true},
    {"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}{1}| "
     "?[^\\s\\p{L}\\p{N}\\r\\n]+|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+",
     split::cl100k<WordStyle{.digits_max = 1, .symbols_take_newlines = false}>, true},
    {"[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}| "
     "?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+",
     split::cl100k<WordStyle{.digits_max = 1, .cuts_contractions = false}>, true},
    {"[^\\r\\n\\p{L}\\p{N}]?[\\p{Lu}\\p{Lt}\\p{Lm}\\p{Lo}\\p{M}]*[\\p{Ll}\\p{Lm}\\p{Lo}\\p{M}]+(?i:"
     "'s|'t|'re|'ve|'m|'ll|'d)?|[^\\r\\n\\p{L}\\p{N}]?[\\p{Lu}\\p{Lt}\\p{Lm}\\p{Lo}\\p{M}]+[\\p{Ll}"
     "\\p{Lm}\\p{Lo}\\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?|\\p{N}{1,3}| "
     "?[^\\s\\p{L}\\p{N}]+[\\r\\n/]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+",
     split::o200k<CasedStyle{}>, true},
    {"[^\\r\\n\\p{L}\\p{N}]?[\\p{Lu}\\p{Lt}\\p{Lm}\\p{Lo}\\p{M}]*[\\p{Ll}\\p{Lm}\\p{Lo}\\p{M}]+|[^"
     "\\r\\n\\p{L}\\p{N}]?[\\p{Lu}\\p{Lt}\\p{Lm}\\p{Lo}\\p{M}]+[\\p{Ll}\\p{Lm}\\p{Lo}\\p{M}]*|\\p{"
     "N}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n/]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+",
     split::o200k<CasedStyle{.digits_max = 1, .takes_contractions = false}>, true},
    {"[\\p{Han}]+|[^\\r\\n\\p{L}\\p{N}]?[\\p{Lu}\\p{Lt}\\p{Lm}\\p{Lo}\\p{M}&&[^\\p{Han}]]*[\\p{Ll}"
     "\\p{Lm}\\p{Lo}\\p{M}&&[^\\p{Han}]]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?|[^\\r\\n\\p{L}\\p{N}]?[\\p{"
     "Lu}\\p{Lt}\\p{Lm}\\p{Lo}\\p{M}&&[^\\p{Han}]]+[\\p{Ll}\\p{Lm}\\p{Lo}\\p{M}&&[^\\p{Han}]]*(?i:'"
     "s|'t|'re|'ve|'m|'ll|'d)?|\\p{N}{1,3}| "
     "?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+",
     split::o200k<CasedStyle{.symbols_take_slash = false, .keeps_han_apart = true}>, true},
    {"[!\"#$%&'()*+,\\-./"
     ":;<=>?@\\[\\\\\\]^_`{|}~][A-Za-z]+|[^\\r\\n\\p{L}\\p{P}\\p{S}]?[\\p{L}\\p{M}]+| "
     "?[\\p{P}\\p{S}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+",
     split::deepseek_v3, false},
    {" ?[^(\\s|.,!?\u2026\u3002\uFF0C\u3001\u0964\u06D4\u060C)]+", split::bloom, false},
    {" ?[^(\\s|[.,!?\u2026\u3002\uFF0C\u3001\u0964\u06D4\u060C])]+", split::bloom, false},
    {"(?s:.+)", split::everything, true},
    {"\\p{N}", split::one_number, false},
    {"\\p{N}{1}", split::one_number, false},
    {"\\p{N}{1,3}", split::three_numbers, false},
    {"\\p{N}+", split::all_numbers, false},
    {"[0-9][0-9][0-9]", split::three_digits, false},
    {"[\\p{P}\\$\\+<=>\\^~\\|`]+", split::punctuation, false},
    {"[\\p{P}\\$\\+<=>\\^~\\|`]", split::one_punctuation, false},
    {"[\\r\\n]", split::one_newline, false},
    {"\\s?\\p{L}+", split::spaced_letters, false},
    {"\\s?\\p{P}+", split::spaced_punctuation, false},
    {"\\s?[A-Za-z\u00B5\u00C0-\u00D6\u00D8-\u00F6\u00F8-\u01BA\u01BC-\u01BF\u01C4-\u0293\u0295-"
     "\u02AF\u0370-\u0373\u0376\u0377\u037B-\u037D\u037F\u0386\u0388-\u038A\u038C\u038E-"
     "\u03A1\u03A3-\u03F5\u03F7-\u0481\u048A-\u052F\u0531-\u0556\u10A0-\u10C5\u13A0-\u13F5\u13F8-"
     "\u13FD\u1C90-\u1CBA\u1CBD-\u1CBF\u1D00-\u1D2B\u1D6B-\u1D77\u1D79-\u1D9A\u1E00-\u1F15\u1F18-"
     "\u1F1D\u1F20-\u1F45\u1F48-\u1F4D\u1F50-\u1F57\u1F59\u1F5B\u1F5D\u1F5F-\u1F7D\u1F80-"
     "\u1FB4\u1FB6-\u1FBC\u1FBE\u1FC2-\u1FC4\u1FC6-\u1FCC\u1FD0-\u1FD3\u1FD6-\u1FDB\u1FE0-"
     "\u1FEC\u1FF2-\u1FF4\u1FF6-\u1FFC\u2102\u2107\u210A-\u2113\u2115\u2119-"
     "\u211D\u2124\u2126\u2128\u212A-\u212D\u212F-\u2134\u2139\u213C-\u213F\u2145-"
     "\u2149\u214E\u2183\u2184\u2C00-\u2C7B\u2C7E-\u2CE4\u2CEB-\u2CEE\u2CF2\u2CF3\uA640-"
     "\uA66D\uA680-\uA69B\uA722-\uA76F\uA771-\uA787\uA78B-\uA78E\uAB70-\uABBF\uFB00-\uFB06\uFB13-"
     "\uFB17\uFF21-\uFF3A\uFF41-\uFF5A\U00010400-\U0001044F\U000104B0-\U000104D3\U000104D8-"
     "\U000104FB\U00010C80-\U00010CB2\U00010CC0-\U00010CF2\U000118A0-\U000118DF\U0001E900-"
     "\U0001E943]+",
     split::spaced_cased_letters, false},
    {"\\s?[!-/:-~\uFF01-\uFF0F\uFF1A-\uFF5E\u2018-\u201F\u3000-\u3002]+",
     split::spaced_deepseek_punctuation, false},
    {"\\s+$", split::spaces_at_end, false},
    {"[\u4E00-\u9FA5\u0800-\u4E00\uAC00-\uD7FF]+", split::deepseek_east_asian, false},
    {"[\u4E00-\u9FA5\u3040-\u309F\u30A0-\u30FF]+", split::deepseek_v3_east_asian, false},
};

constexpr MatchFn kCl100k = split::cl100k<WordStyle{}>;
constexpr MatchFn kCl100kOneDigit = split::cl100k<WordStyle{.digits_max = 1}>;

constexpr PreTokenizer kGpt2{{split::gpt2}, false};
constexpr PreTokenizer kLlama3{{kCl100k}, true};
constexpr PreTokenizer kDbrx{{kCl100k}, false};
constexpr PreTokenizer kQwen2{{kCl100kOneDigit}, false};
constexpr PreTokenizer kQwen35{{split::cl100k<WordStyle{.digits_max = 1, .takes_marks = true}>},
                               false};
constexpr PreTokenizer kSeedCoder{
    {split::cl100k<WordStyle{.digits_max = 1, .symbols_take_newlines = false}>}, false};
constexpr PreTokenizer kUfakzeka{
    {split::cl100k<WordStyle{.digits_max = 1, .cuts_contractions = false}>}, false};
constexpr PreTokenizer kMinicpm5{{split::three_numbers, split::cl100k<WordStyle{.digits_max = 0}>},
                                 true};
constexpr PreTokenizer kStarcoder{{split::one_number, split::gpt2}, false};
constexpr PreTokenizer kFalcon{{split::punctuation, split::gpt2, split::three_digits}, false};
constexpr PreTokenizer kDeepseekCoder{
    {split::one_newline, split::spaced_letters, split::spaced_punctuation,
     split::deepseek_east_asian, split::one_number},
    false};
constexpr PreTokenizer kDeepseekLlm{
    {split::one_newline, split::spaced_cased_letters, split::spaced_deepseek_punctuation,
     split::spaces_at_end, split::deepseek_east_asian, split::all_numbers},
    false};
constexpr PreTokenizer kDeepseekV3{
    {split::three_numbers, split::deepseek_v3_east_asian, split::deepseek_v3}, false};
constexpr PreTokenizer kO200k{{split::o200k<CasedStyle{}>}, false};
constexpr PreTokenizer kTekken{
    {split::o200k<CasedStyle{.digits_max = 1, .takes_contractions = false}>}, true};
constexpr PreTokenizer kKimiK2{
    {split::o200k<CasedStyle{.symbols_take_slash = false, .keeps_han_apart = true}>}, false};
constexpr PreTokenizer kBloom{{split::bloom}, false};
constexpr PreTokenizer kViking{{split::bloom, split::one_number}, false};

struct Named {
  std::string_view name;
  const PreTokenizer* pre;
};

constexpr Named kNamed[] = {
    {"", &kGpt2},
    {"default", &kGpt2},
    {"gpt-2", &kGpt2},
    {"phi-2", &kGpt2},
    {"olmo", &kGpt2},
    {"mpt", &kGpt2},
    {"jais", &kGpt2},
    {"trillion", &kGpt2},
    {"granite-docling", &kGpt2},
    {"exaone4", &kGpt2},
    {"gigachat", &kGpt2},
    {"jina-es", &kGpt2},
    {"jina-de", &kGpt2},
    {"jina-v1-en", &kGpt2},
    {"jina-v2-es", &kGpt2},
    {"jina-v2-de", &kGpt2},
    {"jina-v2-code", &kGpt2},
    {"roberta-bpe", &kGpt2},
    {"a.x-4.0", &kGpt2},
    {"mellum", &kGpt2},
    {"modern-bert", &kGpt2},
    {"llama3", &kLlama3},
    {"llama-v3", &kLlama3},
    {"llama-bpe", &kLlama3},
    {"falcon3", &kLlama3},
    {"falcon-h1", &kLlama3},
    {"pixtral", &kLlama3},
    {"midm-2.0", &kLlama3},
    {"lfm2", &kLlama3},
    {"jina-v5-nano", &kLlama3},
    {"dbrx", &kDbrx},
    {"smaug-bpe", &kDbrx},
    {"glm4", &kDbrx},
    {"chatglm-bpe", &kDbrx},
    {"qwen2", &kQwen2},
    {"stablelm2", &kQwen2},
    {"deepseek-r1-qwen", &kQwen2},
    {"megrez", &kQwen2},
    {"kormo", &kQwen2},
    {"f2llmv2", &kQwen2},
    {"hunyuan", &kQwen2},
    {"solar-open", &kQwen2},
    {"grok-2", &kQwen2},
    {"bailingmoe", &kQwen2},
    {"bailingmoe2", &kQwen2},
    {"llada-moe", &kQwen2},
    {"qwen35", &kQwen35},
    {"seed-coder", &kSeedCoder},
    {"ufakzeka", &kUfakzeka},
    {"minicpm5", &kMinicpm5},
    {"starcoder", &kStarcoder},
    {"refact", &kStarcoder},
    {"command-r", &kStarcoder},
    {"smollm", &kStarcoder},
    {"codeshell", &kStarcoder},
    {"exaone", &kStarcoder},
    {"minerva-7b", &kStarcoder},
    {"mellum2", &kStarcoder},
    {"falcon", &kFalcon},
    {"deepseek-coder", &kDeepseekCoder},
    {"deepseek-llm", &kDeepseekLlm},
    {"deepseek-v3", &kDeepseekV3},
    {"hunyuan-dense", &kDeepseekV3},
    {"joyai-llm", &kDeepseekV3},
    {"hy_v4", &kDeepseekV3},
    {"gpt-4o", &kO200k},
    {"llama4", &kO200k},
    {"kanana2", &kO200k},
    {"talkie", &kO200k},
    {"minimax-m2", &kO200k},
    {"tekken", &kTekken},
    {"kimi-k2", &kKimiK2},
    {"bloom", &kBloom},
    {"poro-chat", &kBloom},
    {"gpt3-finnish", &kBloom},
    {"viking", &kViking},
};

constexpr i64 kPatternBytesMax = 4096;

// `pattern` with line breaks written out.
std::string escaped(std::string_view pattern) {
  std::string out;
  for (char c : pattern) {
    if (c == '\n') {
      out += "\\n";
    } else if (c == '\r') {
      out += "\\r";
    } else {
      out.push_back(c);
    }
  }
  return out;
}

}  // namespace

const PreTokenizer* find_pretokenizer(std::string_view name) {
  for (const Named& named : kNamed) {
    if (named.name == name) return named.pre;
  }
  return nullptr;
}

Split find_split(std::string_view pattern) {
  if (static_cast<i64>(pattern.size()) > kPatternBytesMax) return {};
  std::string wanted = escaped(pattern);
  for (const Published& published : kPublished) {
    if (published.pattern == wanted) return {published.match, published.leaves_no_gaps};
  }
  return {};
}

Result<PreTokenizer> make_pretokenizer(std::span<const std::string> patterns) {
  PreTokenizer pre;
  if (patterns.size() > pre.passes.size())
    return Error{Code::kLimit, "vocab: " + std::to_string(patterns.size()) +
                                   " pre-tokenizer expressions, more than " +
                                   std::to_string(pre.passes.size())};
  for (std::size_t i = 0; i < patterns.size(); ++i) {
    pre.passes[i] = find_split(patterns[i]).match;
    if (pre.passes[i] == nullptr)
      return Error{Code::kUnsupported, "vocab: pre-tokenizer expression \"" +
                                           escaped(patterns[i]).substr(0, 200) + "\" is not known"};
  }
  return pre;
}

}  // namespace tg
