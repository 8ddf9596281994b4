// For tests of the importer: headers of synthetic shapes, edited and imported.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <sstream>
#include <string>
#include <vector>

#include "model/architecture/architectures.h"
#include "model/architecture/shape.h"
#include "model/import.h"
#include "model/synth.h"

namespace tg::model {

// A header's encoded bytes and their file. Not movable: the file borrows the bytes.
struct Parsed {
  explicit Parsed(const gguf::Header& header)
      : bytes(gguf::encode_header(header).value()), file(gguf::File::parse(bytes).value()) {}
  Parsed(const Parsed&) = delete;
  std::vector<u8> bytes;
  gguf::File file;
};

inline gguf::Header header_of(std::string_view shape, std::string_view codec = "q8_0") {
  return synth_header(find_synth_shape(shape).value(), codec, true).value();
}

inline std::string text_of(const gguf::Header& header, const ImportOptions& options = {}) {
  Parsed parsed(header);
  return import_program(parsed.file, options).value().text;
}

inline DecoderShape shape_of(const gguf::Header& header, const ImportOptions& options = {}) {
  Parsed parsed(header);
  std::string_view name = parsed.file.text("general.architecture").value().value();
  return read_shape(parsed.file, find_architecture(name).value(), options).value();
}

inline std::string import_error(const gguf::Header& header, const ImportOptions& options = {}) {
  Parsed parsed(header);
  Result<Imported> imported = import_program(parsed.file, options);
  return imported.ok() ? "no error" : imported.error().message;
}

// Applies one edit of testdata/mutations.txt.
inline void edit(gguf::Header& header, const std::string& line) {
  std::istringstream words(line);
  std::string action, name, type, value;
  words >> action >> name;
  std::vector<gguf::TensorDecl>::iterator tensor =
      std::find_if(header.tensors.begin(), header.tensors.end(),
                   [&](const gguf::TensorDecl& decl) { return decl.name == name; });
  if (action == "drop") {
    i64 dropped = std::erase_if(header.metadata, [&](const auto& e) { return e.first == name; });
    ASSERT_EQ(dropped, 1) << line;
  } else if (action == "set") {
    words >> type >> value;
    if (type == "u32") header.set(name, static_cast<u32>(std::stoul(value)));
    if (type == "f32") header.set(name, std::strtof(value.c_str(), nullptr));
    if (type == "bool") header.set(name, value == "1");
    if (type == "text") header.set(name, value);
  } else if (action == "drop-tensor") {
    header.tensors.erase(tensor);
  } else if (action == "rename") {
    words >> tensor->name;
  } else if (action == "dims") {
    tensor->dims.clear();
    while (std::getline(words >> std::ws, value, ',')) tensor->dims.push_back(std::stoll(value));
    tensor->codec = isa::DType::kF32;
  } else {
    ASSERT_EQ(action, "codec") << line;
    words >> value;
    tensor->codec = isa::dtype_by_name(value).value();
  }
}

}  // namespace tg::model
