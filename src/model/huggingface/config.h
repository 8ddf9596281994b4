// Typed, ranged access to config.json and its like, so that each check is one line where the key is
// used. A key whose value is null counts as absent: that is how these files are written.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "base/types.h"
#include "model/huggingface/json.h"

namespace tg::checkpoint {

inline constexpr std::string_view kConfigFile = "config.json";

// The JSON object that a file of the directory holds. kNotFound, kCorrupt or kLimit naming the
// file.
Result<Json> read_object_file(const std::string& directory, std::string_view file);

// An object of the file. Borrows the tree.
class Config {
 public:
  // `file` and `path` ("", "rope_scaling.") begin the messages. REQUIRES: object.kind is kObject.
  Config(const Json& object, std::string_view file, std::string path = "")
      : object_(&object), file_(file), path_(std::move(path)) {}

  // nullptr if absent or null.
  const Json* find(std::string_view key) const;
  bool has(std::string_view key) const { return find(key) != nullptr; }

  // kNotFound if absent, kInvalid for another type or a value out of range. Integers are from
  // `low` to 2^31-1; reals are finite.
  Result<i64> integer(std::string_view key, i64 low) const;
  Result<f64> real(std::string_view key) const;
  Result<bool> boolean(std::string_view key) const;
  Result<std::string> text(std::string_view key) const;
  Result<std::vector<f64>> reals(std::string_view key) const;
  Result<std::vector<std::string>> texts(std::string_view key) const;
  Result<Config> object(std::string_view key) const;

  // As above, `otherwise` if absent.
  Result<i64> integer_or(std::string_view key, i64 low, i64 otherwise) const;
  Result<f64> real_or(std::string_view key, f64 otherwise) const;
  Result<bool> boolean_or(std::string_view key, bool otherwise) const;
  Result<std::string> text_or(std::string_view key, std::string_view otherwise) const;

  // "config.json: key 'a.b' is 3, <expectation>"
  Error wrong(std::string_view key, std::string_view expectation) const;
  // kUnsupported: "config.json: key 'a.b' is 3, which is not supported"
  Error unsupported(std::string_view key) const;

 private:
  Result<const Json*> need(std::string_view key) const;
  std::string full(std::string_view key) const;

  const Json* object_;
  std::string_view file_;
  std::string path_;
};

}  // namespace tg::checkpoint
