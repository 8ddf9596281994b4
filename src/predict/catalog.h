// Devices and models of a directory of specs, by the names that measurements call them. A model is
// found under its own file or, failing that, under the file of the model it is a copy of in another
// precision or tuning.
#pragma once

#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "predict/device_spec.h"
#include "predict/model_shape.h"

namespace tg::predict {

struct ModelEntry {
  std::string file;  // name of its configuration
  ModelShape shape;
};

class Catalog {
 public:
  // Finds <directory>/specs/systems/*.yaml and <directory>/specs/model_configs/*_config.json;
  // kNotFound if a folder is missing. What is wrong in a file is said when it is asked for.
  static Result<Catalog> open(const std::string& directory);

  // kNotFound naming the system and the directory; the error of the file if it cannot be used.
  Result<const DeviceSpec*> device(const std::string& system) const;
  // kNotFound naming the model; the error of its own file if neither that nor the file of a copy
  // can be used. Borrows the catalog.
  Result<const ModelEntry*> model(const std::string& name);

  // For tests and for programs that know their own devices and models.
  void add(DeviceSpec spec);
  void add(const std::string& name, ModelShape shape);

 private:
  std::vector<std::string> find_files(std::string_view name) const;

  std::string directory_;
  std::map<std::string, DeviceSpec> devices_;
  std::map<std::string, Error> unusable_;  // devices
  std::vector<std::string> files_;         // without "_config.json"
  std::map<std::string, ModelEntry> models_;
};

// The words of a model's name that tell it from others: maker, tuning and precision are left out.
std::vector<std::string> identity_words(std::string_view name);

}  // namespace tg::predict
