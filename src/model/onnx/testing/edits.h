// For tests: edits of a made model, written as lines of text, so that a new case is a new line.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <sstream>
#include <string>
#include <vector>

#include "model/onnx/testing/genai_graph.h"

namespace tg::onnx::testing {

inline std::vector<std::string> words_of(const std::string& text, char separator) {
  std::vector<std::string> out;
  std::istringstream stream(text);
  for (std::string word; std::getline(stream, word, separator);) out.push_back(word);
  return out;
}

inline std::vector<i64> integers_of(const std::string& text) {
  std::vector<i64> out;
  for (const std::string& word : words_of(text, ',')) out.push_back(std::stoll(word));
  return out;
}

// The node, initializer or value whose name ends so; the first of them.
template <typename T>
T& named(std::vector<T>& all, const std::string& end) {
  for (T& item : all)
    if (item.name.ends_with(end)) return item;
  ADD_FAILURE() << "nothing is called " << end;
  return all[0];
}

inline void set_attribute(MadeNode& node, const std::string& name, const std::string& kind,
                          const std::string& value) {
  std::erase_if(node.attributes, [&](const MadeAttribute& a) { return a.name == name; });
  MadeAttribute& attribute = node.attributes.emplace_back();
  attribute.name = name;
  if (kind == "int") attribute.integer = std::stoll(value);
  if (kind == "float") attribute.real = std::strtof(value.c_str(), nullptr);
  if (kind == "text") attribute.text = value;
  if (kind == "ints") attribute.integers = integers_of(value);
  if (kind == "graph") attribute.has_graph = true;
}

// Puts a node before another: "insert WHERE OP NAME INPUTS OUTPUT [DOMAIN]".
inline void insert_node(MadeModel& model, const std::vector<std::string>& w) {
  MadeNode fresh{.op = w[2], .name = w[3], .inputs = words_of(w[4], ','), .outputs = {w[5]}};
  if (w.size() > 6) fresh.domain = w[6];
  std::ptrdiff_t at = &named(model.nodes, w[1]) - model.nodes.data();
  model.nodes.insert(model.nodes.begin() + at, fresh);
}

// Applies one edit of testdata/refused.txt.
inline void edit(MadeModel& model, const std::string& line) {
  std::vector<std::string> w = words_of(line, ' ');
  auto text = [&](std::size_t i) { return i < w.size() && w[i] != "-" ? w[i] : std::string(); };
  if (w[0] == "ir") {
    model.ir_version = std::stoll(w[1]);
  } else if (w[0] == "opset") {
    model.opset = std::stoll(w[1]);
  } else if (w[0] == "op") {
    named(model.nodes, w[1]).op = w[2];
    if (w.size() > 3) named(model.nodes, w[1]).domain = text(3);
  } else if (w[0] == "attr") {
    set_attribute(named(model.nodes, w[1]), w[2], w[3], text(4));
  } else if (w[0] == "drop-attr") {
    std::erase_if(named(model.nodes, w[1]).attributes,
                  [&](const MadeAttribute& a) { return a.name == w[2]; });
  } else if (w[0] == "input") {
    std::vector<std::string>& inputs = named(model.nodes, w[1]).inputs;
    std::size_t i = std::stoul(w[2]);
    if (inputs.size() <= i) inputs.resize(i + 1);
    inputs[i] = text(3);
  } else if (w[0] == "output") {
    std::vector<std::string>& outputs = named(model.nodes, w[1]).outputs;
    std::size_t i = std::stoul(w[2]);
    if (outputs.size() <= i) outputs.resize(i + 1);
    outputs[i] = text(3);
  } else if (w[0] == "drop-node") {
    model.nodes.erase(model.nodes.begin() + (&named(model.nodes, w[1]) - model.nodes.data()));
  } else if (w[0] == "insert") {
    insert_node(model, w);
  } else if (w[0] == "dims") {
    named(model.tensors, w[1]).dims = integers_of(text(2));
  } else if (w[0] == "type") {
    named(model.tensors, w[1]).type = static_cast<ElementType>(std::stoi(w[2]));
  } else if (w[0] == "drop-tensor") {
    model.tensors.erase(model.tensors.begin() +
                        (&named(model.tensors, w[1]) - model.tensors.data()));
  } else if (w[0] == "copy-tensor") {
    MadeTensor copy = named(model.tensors, w[1]);
    copy.name = w[2];
    model.tensors.push_back(copy);
  } else if (w[0] == "external") {
    named(model.tensors, w[1]).location = w[2];
  } else if (w[0] == "fill") {
    std::vector<u8>& data = named(model.tensors, w[1]).data;
    std::fill(data.begin(), data.end(), static_cast<u8>(std::stoi(w[2])));
  } else if (w[0] == "graph-input") {
    named(model.inputs, w[1]).name = text(2);
    if (w.size() > 3) named(model.inputs, w[1]).dims = integers_of(w[3]);
  } else if (w[0] == "graph-input-type") {
    named(model.inputs, w[1]).type = static_cast<ElementType>(std::stoi(w[2]));
  } else {
    ASSERT_EQ(w[0], "graph-output") << line;
    named(model.outputs, w[1]).name = text(2);
  }
}

inline TinyDecoder decoder_of(const std::string& name) {
  if (name == "separate") return {.has_separate_rope = true};
  if (name == "packed") return {.is_packed = true};
  if (name == "int4") return {.bits = 4, .has_zeros = true};
  if (name == "tied4") return {.is_tied = true, .bits = 4};
  if (name == "qwen3") return {.has_qk_norm = true};
  EXPECT_EQ(name, "llama");
  return {};
}

inline void apply_edits(MadeModel& model, const std::string& edits) {
  for (std::size_t at = 0; at < edits.size();) {
    std::size_t end = std::min(edits.find(" & ", at), edits.size());
    edit(model, edits.substr(at, end - at));
    at = end + 3;
  }
}

}  // namespace tg::onnx::testing
