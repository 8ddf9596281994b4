// Any reply, cut anywhere: nothing is lost or held at the end, and the cut changes nothing.
#include "base/assert.h"
#include "text/reply_parser.h"

static std::string parts_of(const tg::ReplyParser::Options& options, std::string_view text,
                            std::size_t piece) {
  tg::ReplyParser parser(options);
  std::string out;
  auto add = [&out](const std::vector<tg::ReplyPart>& parts) {
    for (const tg::ReplyPart& part : parts) {
      if (part.is_new_call) out += "\x01" + part.name;
      for (char c : part.text) out += {static_cast<char>(2 + static_cast<int>(part.kind)), c};
    }
  };
  for (std::size_t at = 0; at < text.size(); at += piece) {
    parser.push(text.substr(at, piece));
    TG_ASSERT(parser.decided() <= static_cast<tg::i64>(std::min(text.size(), at + piece)));
    add(parser.take());
  }
  parser.finish();
  TG_ASSERT(parser.decided() == static_cast<tg::i64>(text.size()));
  add(parser.take());
  return out;
}

extern "C" int LLVMFuzzerTestOneInput(const unsigned char* data, size_t size) {
  if (size < 2 || size > 4096) return 0;
  tg::ReplyParser::Options options;
  options.format.calls = static_cast<tg::CallSyntax>(data[0] % 8);
  options.reads_calls = data[0] & 8;
  options.calls_max = data[0] >> 6;
  options.tool_names = {"f"};
  if (data[0] & 16) {
    options.format.think_open = "<think>";
    options.format.think_close = "</think>";
    options.is_in_reasoning = data[0] & 32;
  }
  std::string_view text(reinterpret_cast<const char*>(data + 2), size - 2);
  TG_ASSERT(parts_of(options, text, 1 + data[1] % 16) == parts_of(options, text, 1));
  return 0;
}
