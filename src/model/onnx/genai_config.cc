#include "model/onnx/genai_config.h"

#include <filesystem>

#include "model/huggingface/config.h"

namespace tg::onnx {

Result<GenaiConfig> read_genai_config(const std::string& folder) {
  GenaiConfig out;
  std::error_code ignored;
  if (!std::filesystem::exists(std::filesystem::path(folder) / kGenaiConfigFile, ignored))
    return out;
  TG_ASSIGN(checkpoint::Json json, checkpoint::read_object_file(folder, kGenaiConfigFile));
  checkpoint::Config config(json, kGenaiConfigFile);
  if (!config.has("model")) return out;
  TG_ASSIGN(checkpoint::Config model, config.object("model"));
  TG_ASSIGN(out.architecture, model.text_or("type", out.architecture));
  TG_ASSIGN(out.context, model.integer_or("context_length", 1, 0));
  if (!model.has("decoder")) return out;
  TG_ASSIGN(checkpoint::Config decoder, model.object("decoder"));
  TG_ASSIGN(out.model_file, decoder.text_or("filename", out.model_file));
  bool is_name = !out.model_file.empty() && out.model_file.find('/') == std::string::npos;
  if (!is_name) return decoder.wrong("filename", "expected a name in the folder");
  return out;
}

}  // namespace tg::onnx
