// A model file with everything serving needs made from it: program, weights, tokenizer, chat
// template.
#pragma once

#include <memory>
#include <optional>
#include <string>

#include "backend/executor.h"
#include "model/model.h"
#include "text/chat_template.h"
#include "text/tokenizer.h"

namespace tg::apps {

struct LoadedModel {
  std::string id;  // The name requests use: the file's stem.
  std::unique_ptr<model::Model> model;
  std::shared_ptr<const Tokenizer> tokenizer;
  std::optional<ChatTemplate> chat_template;  // None if the file has none.
};

// An error if the file cannot be run: no data, no tokenizer, a template we cannot render.
Result<LoadedModel> load_model(const std::string& path, const model::ImportOptions& options = {});

// Where packed weights of this model are kept: beside its file, if it is one file and big enough
// for that to save time.
backend::PackedFile packed_file_of(const model::Model& model);

// Prompt ids of one user message through the chat template, or of the text itself if `raw`.
Result<std::vector<TokenId>> prompt_ids(const LoadedModel& loaded, const std::string& text,
                                        bool raw, i64 unix_seconds);

}  // namespace tg::apps
