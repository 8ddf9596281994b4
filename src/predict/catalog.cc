// Names are compared as sets of words, because "org/Llama-3.1-70B" is published as
// "org--Meta-Llama-3.1-70B".
#include "predict/catalog.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <filesystem>
#include <tuple>

namespace tg::predict {

namespace {

constexpr std::string_view kConfigEnding = "_config.json";
constexpr std::string_view kQuantEnding = "_hf_quant_config.json";
constexpr std::string_view kSpecEnding = ".yaml";
constexpr std::array<std::string_view, 21> kSilentWords = {
    "instruct", "base",   "fp8",       "nvfp4",   "fp4",   "bf16",  "int4",
    "int8",     "awq",    "gptq",      "chat",    "meta",  "hf",    "it",
    "mxfp4",    "static", "pertensor", "dynamic", "block", "w4a16", "w8a8"};
// How many words may differ before two names are held to be different models.
constexpr std::size_t kWordsApartMax = 1;

bool is_silent(std::string_view word) {
  return std::find(kSilentWords.begin(), kSilentWords.end(), word) != kSilentWords.end();
}

bool has_digit(std::string_view word) {
  return std::any_of(word.begin(), word.end(), [](char c) { return c >= '0' && c <= '9'; });
}

// Words of one list but not of the other; a number among them counts as no match at all.
std::size_t words_apart(const std::vector<std::string>& a, const std::vector<std::string>& b) {
  std::vector<std::string> apart;
  std::set_symmetric_difference(a.begin(), a.end(), b.begin(), b.end(), std::back_inserter(apart));
  if (std::any_of(apart.begin(), apart.end(), has_digit)) return kWordsApartMax + 1;
  return apart.size();
}

Result<std::vector<std::string>> files_in(const std::string& directory, std::string_view ending) {
  std::error_code error;
  std::filesystem::directory_iterator entries(directory, error);
  if (error) return Error{Code::kNotFound, fmt::format("{}: {}", directory, error.message())};
  std::vector<std::string> names;
  for (const std::filesystem::directory_entry& entry : entries) {
    std::string name = entry.path().filename().string();
    if (name.ends_with(ending)) names.push_back(std::move(name));
  }
  std::sort(names.begin(), names.end());
  return names;
}

}  // namespace

std::vector<std::string> identity_words(std::string_view name) {
  std::size_t slash = name.rfind('/');
  if (slash != std::string_view::npos) name.remove_prefix(slash + 1);
  std::size_t dashes = name.find("--");
  if (dashes != std::string_view::npos) name.remove_prefix(dashes + 2);
  std::vector<std::string> words(1);
  for (char c : name) {
    if (c == '-' || c == '_' || c == ' ' || c == '.') {
      words.emplace_back();
    } else {
      words.back() += c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
    }
  }
  std::erase_if(words, [](const std::string& word) { return word.empty() || is_silent(word); });
  std::sort(words.begin(), words.end());
  return words;
}

Result<Catalog> Catalog::open(const std::string& directory) {
  Catalog out;
  out.directory_ = directory + "/specs";
  std::string systems = out.directory_ + "/systems";
  TG_ASSIGN(std::vector<std::string> specs, files_in(systems, kSpecEnding));
  for (const std::string& file : specs) {
    std::string name = file.substr(0, file.size() - kSpecEnding.size());
    Result<DeviceSpec> spec = read_device_spec(systems + "/" + file, name);
    if (spec.ok()) {
      out.add(std::move(*spec));
    } else {
      out.unusable_.emplace(name, spec.error());
    }
  }
  TG_ASSIGN(std::vector<std::string> configs,
            files_in(out.directory_ + "/model_configs", kConfigEnding));
  for (const std::string& file : configs) {
    if (!file.ends_with(kQuantEnding))
      out.files_.push_back(file.substr(0, file.size() - kConfigEnding.size()));
  }
  return out;
}

void Catalog::add(DeviceSpec spec) {
  std::string name = spec.name;
  devices_.insert_or_assign(std::move(name), std::move(spec));
}

void Catalog::add(const std::string& name, ModelShape shape) {
  models_.insert_or_assign(name, ModelEntry{.file = name, .shape = shape});
}

Result<const DeviceSpec*> Catalog::device(const std::string& system) const {
  std::map<std::string, Error>::const_iterator unusable = unusable_.find(system);
  if (unusable != unusable_.end()) return unusable->second;
  std::map<std::string, DeviceSpec>::const_iterator found = devices_.find(system);
  if (found == devices_.end())
    return Error{Code::kNotFound,
                 fmt::format("system '{}' has no file in {}/systems", system, directory_)};
  return &found->second;
}

// Best first: the model's own file, then those whose words are nearest, the shortest first.
std::vector<std::string> Catalog::find_files(std::string_view name) const {
  std::string exact(name);
  std::size_t slash = exact.find('/');
  if (slash != std::string::npos) exact.replace(slash, 1, "--");
  std::vector<std::string> wanted = identity_words(name);
  using Candidate = std::tuple<std::size_t, std::size_t, std::string>;
  std::vector<Candidate> found;
  for (const std::string& file : files_) {
    std::size_t apart = words_apart(wanted, identity_words(file));
    if (file == exact) {
      found.emplace_back(0, 0, file);
    } else if (apart <= kWordsApartMax) {
      found.emplace_back(apart, file.size(), file);
    }
  }
  std::sort(found.begin(), found.end());
  std::vector<std::string> out;
  for (const Candidate& candidate : found) out.push_back(std::get<2>(candidate));
  return out;
}

Result<const ModelEntry*> Catalog::model(const std::string& name) {
  std::map<std::string, ModelEntry>::const_iterator known = models_.find(name);
  if (known != models_.end()) return &known->second;
  Error error{Code::kNotFound,
              fmt::format("model '{}' has no file in {}/model_configs", name, directory_)};
  std::vector<std::string> files = find_files(name);
  for (std::size_t i = 0; i < files.size(); ++i) {
    Result<ModelShape> shape =
        read_model_shape(fmt::format("{}/model_configs/{}{}", directory_, files[i], kConfigEnding));
    if (shape.ok())
      return &models_.insert_or_assign(name, ModelEntry{.file = files[i], .shape = *shape})
                  .first->second;
    if (i == 0) error = shape.error();
  }
  return error;
}

}  // namespace tg::predict
