// Any template parses and renders, or says why not. The bytes before a NUL are the template, those
// behind it the first message's content and the tools.
#include "text/chat_template.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  std::string_view input(reinterpret_cast<const char*>(data), size);
  std::size_t end = input.find('\0');
  std::string_view source = input.substr(0, end);
  std::string rest(end == input.npos ? "Hello" : input.substr(end + 1));
  tg::Result<tg::ChatTemplate> parsed = tg::ChatTemplate::parse(source);
  if (!parsed.ok()) return 0;
  const tg::ChatMessage messages[] = {
      {"system", "Be brief."}, {"user", rest}, {"assistant", "Hi"}, {"user", "Bye"}};
  tg::ChatTemplate::RenderOptions options{.bos_token = "<s>", .eos_token = "</s>"};
  for (const std::string& tools : {std::string(), rest}) {
    options.tools_json = tools;
    tg::Result<std::string> text = parsed->render(messages, options);
    if (!text.ok() && text.error().message.empty()) __builtin_trap();
  }
  return 0;
}
