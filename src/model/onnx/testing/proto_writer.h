// For tests: ONNX files made by hand, as structs that can be edited until they are encoded.
#pragma once

#include <bit>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "model/onnx/graph.h"

namespace tg::onnx::testing {

// The bytes of one protobuf message.
class ProtoWriter {
 public:
  void varint(u32 field, i64 value) {
    raw_varint(u64{field} << 3);
    raw_varint(static_cast<u64>(value));
  }
  void fixed32(u32 field, u32 value) {
    raw_varint(u64{field} << 3 | 5);
    for (int i = 0; i < 4; ++i) bytes_.push_back(static_cast<u8>(value >> (8 * i)));
  }
  void bytes(u32 field, std::span<const u8> value) {
    raw_varint(u64{field} << 3 | 2);
    raw_varint(value.size());
    bytes_.insert(bytes_.end(), value.begin(), value.end());
  }
  void text(u32 field, std::string_view value) {
    bytes(field, {reinterpret_cast<const u8*>(value.data()), value.size()});
  }
  void message(u32 field, const ProtoWriter& value) { bytes(field, value.bytes_); }
  void raw_varint(u64 value) {
    for (; value >= 0x80; value >>= 7) bytes_.push_back(static_cast<u8>(value | 0x80));
    bytes_.push_back(static_cast<u8>(value));
  }
  const std::vector<u8>& done() const { return bytes_; }

 private:
  std::vector<u8> bytes_;
};

struct MadeTensor {
  std::string name;
  ElementType type = ElementType::kFloat;
  std::vector<i64> dims;
  std::vector<u8> data;
  std::string location;  // empty: raw_data
  i64 offset = 0;        // external
};

struct MadeAttribute {
  std::string name;
  std::optional<i64> integer;
  std::optional<f32> real;
  std::optional<std::string> text;
  std::vector<i64> integers;
  std::optional<MadeTensor> tensor;
  bool has_graph = false;
};

struct MadeNode {
  std::string op;
  std::string name;
  std::vector<std::string> inputs;
  std::vector<std::string> outputs;
  std::vector<MadeAttribute> attributes;
  std::string domain;
};

struct MadeValue {
  std::string name;
  ElementType type = ElementType::kFloat;
  std::vector<i64> dims;  // -1: open
};

struct MadeModel {
  i64 ir_version = 10;
  i64 opset = 21;
  std::vector<MadeNode> nodes;
  std::vector<MadeTensor> tensors;
  std::vector<MadeValue> inputs;
  std::vector<MadeValue> outputs;

  std::vector<u8> encode() const;
};

inline ProtoWriter encode_tensor(const MadeTensor& t) {
  ProtoWriter out;
  for (i64 dim : t.dims) out.varint(1, dim);
  out.varint(2, static_cast<i64>(t.type));
  out.text(8, t.name);
  if (t.location.empty()) {
    out.bytes(9, t.data);
    return out;
  }
  std::pair<std::string, std::string> entries[] = {{"location", t.location},
                                                   {"offset", std::to_string(t.offset)},
                                                   {"length", std::to_string(t.data.size())}};
  for (const std::pair<std::string, std::string>& entry : entries) {
    ProtoWriter property;
    property.text(1, entry.first);
    property.text(2, entry.second);
    out.message(13, property);
  }
  out.varint(14, 1);
  return out;
}

inline ProtoWriter encode_attribute(const MadeAttribute& a) {
  ProtoWriter out;
  out.text(1, a.name);
  i64 type = 0;  // AttributeType
  if (a.real) out.fixed32(2, std::bit_cast<u32>(*a.real)), type = 1;
  if (a.integer) out.varint(3, *a.integer), type = 2;
  if (a.text) out.text(4, *a.text), type = 3;
  if (a.tensor) out.message(5, encode_tensor(*a.tensor)), type = 4;
  if (a.has_graph) out.message(6, ProtoWriter()), type = 5;
  for (i64 value : a.integers) out.varint(8, value), type = 7;
  out.varint(20, type);
  return out;
}

inline ProtoWriter encode_node(const MadeNode& n) {
  ProtoWriter out;
  for (const std::string& input : n.inputs) out.text(1, input);
  for (const std::string& output : n.outputs) out.text(2, output);
  out.text(3, n.name);
  out.text(4, n.op);
  for (const MadeAttribute& a : n.attributes) out.message(5, encode_attribute(a));
  if (!n.domain.empty()) out.text(7, n.domain);
  return out;
}

inline ProtoWriter encode_value(const MadeValue& v) {
  ProtoWriter shape;
  for (i64 dim : v.dims) {
    ProtoWriter dimension;
    if (dim >= 0) {
      dimension.varint(1, dim);
    } else {
      dimension.text(2, "some_size");
    }
    shape.message(1, dimension);
  }
  ProtoWriter tensor;
  tensor.varint(1, static_cast<i64>(v.type));
  tensor.message(2, shape);
  ProtoWriter type;
  type.message(1, tensor);
  ProtoWriter out;
  out.text(1, v.name);
  out.message(2, type);
  return out;
}

inline ProtoWriter operator_set(std::string_view domain, i64 version) {
  ProtoWriter out;
  out.text(1, domain);
  out.varint(2, version);
  return out;
}

inline std::vector<u8> MadeModel::encode() const {
  ProtoWriter graph;
  for (const MadeNode& n : nodes) graph.message(1, encode_node(n));
  graph.text(2, "main_graph");
  for (const MadeTensor& t : tensors) graph.message(5, encode_tensor(t));
  for (const MadeValue& v : inputs) graph.message(11, encode_value(v));
  for (const MadeValue& v : outputs) graph.message(12, encode_value(v));
  ProtoWriter model;
  model.varint(1, ir_version);
  model.text(2, "onnxruntime-genai");
  model.message(8, operator_set("", opset));
  model.message(8, operator_set("com.microsoft", 1));
  model.message(7, graph);
  return model.done();
}

}  // namespace tg::onnx::testing
