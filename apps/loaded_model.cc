#include "apps/loaded_model.h"

#include <fmt/format.h>

#include <filesystem>

namespace tg::apps {

Result<LoadedModel> load_model(const std::string& path, const model::ImportOptions& options) {
  LoadedModel loaded;
  loaded.id = std::filesystem::path(path).stem().string();
  TG_ASSIGN(loaded.model, model::Model::open(path, options));
  TG_TRY(loaded.model->check_runnable());
  TG_TRY(loaded.model->check_vocab());
  TG_ASSIGN(Tokenizer tokenizer, Tokenizer::create(loaded.model->vocab()));
  loaded.tokenizer = std::make_shared<const Tokenizer>(std::move(tokenizer));
  const std::string& jinja = loaded.model->vocab().chat_template;
  if (!jinja.empty()) {
    TG_ASSIGN(ChatTemplate parsed, ChatTemplate::parse(jinja));
    loaded.chat_template = std::move(parsed);
  }
  return loaded;
}

backend::PackedFile packed_file_of(const model::Model& model) {
  constexpr u64 kWorthKeeping = u64{64} << 20;
  std::error_code failure;
  std::filesystem::path path = std::filesystem::weakly_canonical(model.path(), failure);
  if (failure || !std::filesystem::is_regular_file(path, failure)) return {};
  u64 size = std::filesystem::file_size(path, failure);
  if (failure || size < kWorthKeeping) return {};
  std::filesystem::file_time_type written = std::filesystem::last_write_time(path, failure);
  if (failure) return {};
  std::string what =
      fmt::format("{} {} {}", path.string(), size, written.time_since_epoch().count());
  return {.path = path.string() + ".tgpack", .source = sha256(what)};
}

static std::string token_text(const Tokenizer& tokenizer, TokenId id) {
  return id < 0 ? "" : std::string(tokenizer.piece(id));
}

Result<std::vector<TokenId>> prompt_ids(const LoadedModel& loaded, const std::string& text,
                                        bool raw, i64 unix_seconds) {
  const Tokenizer& tokenizer = *loaded.tokenizer;
  if (raw || !loaded.chat_template) {
    return tokenizer.encode(text, {.add_bos = tokenizer.vocab().add_bos, .parse_special = false});
  }
  ChatMessage message{.role = "user", .content = text};
  ChatTemplate::RenderOptions options;
  options.bos_token = token_text(tokenizer, tokenizer.vocab().bos);
  options.eos_token = token_text(tokenizer, tokenizer.vocab().eos);
  options.unix_seconds = unix_seconds;
  TG_ASSIGN(std::string rendered, loaded.chat_template->render({&message, 1}, options));
  // Templates that want a bos write it themselves.
  return tokenizer.encode(rendered, {.add_bos = false, .parse_special = true});
}

}  // namespace tg::apps
