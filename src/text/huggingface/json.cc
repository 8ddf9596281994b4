#include "text/huggingface/json.h"

namespace tg::huggingface {
namespace {

constexpr i64 kShownBytesMax = 120;
constexpr i64 kComponentsMax = 64;

// Counts what a tree would hold before one is built: a small file can ask for much memory.
class Counter : public nlohmann::json_sax<Json> {
 public:
  bool null() override { return count(); }
  bool boolean(bool) override { return count(); }
  bool number_integer(number_integer_t) override { return count(); }
  bool number_unsigned(number_unsigned_t) override { return count(); }
  bool number_float(number_float_t, const string_t&) override { return count(); }
  bool string(string_t&) override { return count(); }
  bool binary(binary_t&) override { return count(); }
  bool key(string_t&) override { return count(); }
  bool start_object(std::size_t) override { return open(); }
  bool end_object() override { return close(); }
  bool start_array(std::size_t) override { return open(); }
  bool end_array() override { return close(); }
  bool parse_error(std::size_t position, const std::string&,
                   const nlohmann::detail::exception&) override {
    error_at_ = static_cast<i64>(position);
    return false;
  }

  // REQUIRES: the parser stopped early.
  Error error(std::string_view what) const {
    std::string name(what);
    if (values_ > kJsonValuesMax)
      return {Code::kLimit, name + ": more than " + std::to_string(kJsonValuesMax) + " values"};
    if (depth_ > kJsonDepthMax)
      return {Code::kLimit, name + ": nests deeper than " + std::to_string(kJsonDepthMax)};
    return {Code::kInvalid, name + ": not JSON at byte " + std::to_string(error_at_)};
  }

 private:
  bool count() { return ++values_ <= kJsonValuesMax; }
  bool open() { return ++depth_ <= kJsonDepthMax && count(); }
  bool close() {
    --depth_;
    return true;
  }

  i64 values_ = 0;
  i64 depth_ = 0;
  i64 error_at_ = 0;
};

Status flatten_into(const Json& json, const char* what, const char* key,
                    std::vector<const Json*>& out) {
  if (type_of(json) != "Sequence") {
    out.push_back(&json);
    if (static_cast<i64>(out.size()) > kComponentsMax)
      return Error{Code::kLimit, "tokenizer.json: " + std::string(what) + " has more than " +
                                     std::to_string(kComponentsMax) + " parts"};
    return {};
  }
  const Json* parts = member(json, key);
  if (parts == nullptr || !parts->is_array())
    return invalid(std::string(what) + " Sequence has no " + key);
  for (const Json& part : *parts) TG_TRY(flatten_into(part, what, key, out));
  return {};
}

}  // namespace

Result<Json> parse_json(std::string_view bytes, std::string_view what) {
  if (static_cast<i64>(bytes.size()) > kJsonBytesMax)
    return Error{Code::kLimit, std::string(what) + ": " + std::to_string(bytes.size()) +
                                   " bytes, more than " + std::to_string(kJsonBytesMax)};
  Counter counter;
  if (!Json::sax_parse(bytes.begin(), bytes.end(), &counter)) return counter.error(what);
  Json tree = Json::parse(bytes.begin(), bytes.end(), nullptr, /*allow_exceptions=*/false);
  TG_ASSERT(!tree.is_discarded());
  return tree;
}

const Json* member(const Json& json, const char* key) {
  if (!json.is_object()) return nullptr;
  Json::const_iterator found = json.find(key);
  return found == json.end() || found->is_null() ? nullptr : &*found;
}

const std::string* text_member(const Json& json, const char* key) {
  const Json* found = member(json, key);
  return found == nullptr ? nullptr : found->get_ptr<const std::string*>();
}

bool flag_member(const Json& json, const char* key, bool otherwise) {
  const Json* found = member(json, key);
  const bool* flag = found == nullptr ? nullptr : found->get_ptr<const bool*>();
  return flag == nullptr ? otherwise : *flag;
}

std::string_view type_of(const Json& json) {
  const std::string* type = text_member(json, "type");
  return type == nullptr ? std::string_view() : *type;
}

std::string shown(std::string_view text) {
  std::string out;
  for (char c : text.substr(0, kShownBytesMax))
    out.push_back(static_cast<u8>(c) < 0x20 || c == 0x7F ? '?' : c);
  return static_cast<i64>(text.size()) > kShownBytesMax ? out + "..." : out;
}

Error unsupported(const std::string& component) {
  return {Code::kUnsupported, "tokenizer.json: " + component + " is not supported"};
}

Error invalid(const std::string& what) {
  return {Code::kInvalid, "tokenizer.json: " + what};
}

Result<std::vector<const Json*>> flatten(const Json& root, const char* what, const char* key) {
  std::vector<const Json*> parts;
  const Json* json = member(root, what);
  if (json != nullptr) TG_TRY(flatten_into(*json, what, key, parts));
  return parts;
}

}  // namespace tg::huggingface
