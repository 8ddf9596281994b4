// An ONNX file as plain structs: the parts of ModelProto that describe a decoder. Names and data
// borrow the file's bytes; every count, length and dimension is checked against a limit here, so
// that who reads the graph may trust its sizes (though not its meaning).
#pragma once

#include <map>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/result.h"
#include "base/types.h"

namespace tg::onnx {

inline constexpr i64 kNodesMax = i64{1} << 17;
inline constexpr i64 kTensorsMax = i64{1} << 17;
inline constexpr i64 kValuesMax = i64{1} << 14;  // graph inputs, and outputs
inline constexpr i64 kNodeValuesMax = 64;        // inputs of a node, and outputs
inline constexpr i64 kAttributesMax = 64;        // of a node
inline constexpr i64 kAttributeItemsMax = 4'096;
inline constexpr i64 kNameBytesMax = 1'024;
inline constexpr i64 kDimsMax = 8;
inline constexpr i64 kElementsMax = i64{1} << 40;  // of a tensor
inline constexpr i64 kPropertiesMax = 4'096;
inline constexpr i64 kIrVersionMin = 7;  // Initializers that are not inputs, sized types.
inline constexpr i64 kIrVersionMax = 13;

// TensorProto.DataType; the values are the format's.
enum class ElementType : i32 {
  kUndefined = 0,
  kFloat = 1,
  kUint8 = 2,
  kInt8 = 3,
  kUint16 = 4,
  kInt16 = 5,
  kInt32 = 6,
  kInt64 = 7,
  kString = 8,
  kBool = 9,
  kFloat16 = 10,
  kDouble = 11,
  kUint32 = 12,
  kUint64 = 13,
  kBfloat16 = 16,
  kUint4 = 21,
  kInt4 = 22,
};

// "float16"; the number for types that are not listed above.
std::string name(ElementType type);
// Stored bits of an element; 0 for types whose data is not read.
i64 element_bits(ElementType type);
bool is_real(ElementType type);     // float, float16, bfloat16
bool is_integer(ElementType type);  // int32, int64

// Data in another file beside the model.
struct ExternalData {
  std::string_view location;  // a relative path without "..", checked
  u64 offset = 0;
  std::optional<u64> length;
};

struct Tensor {
  std::string_view name;
  ElementType type = ElementType::kUndefined;
  std::vector<i64> dims;  // outermost first; empty for a scalar
  std::optional<ExternalData> external;
  std::span<const u8> raw;  // little-endian, in the file or attached; empty until attached
  std::vector<u8> decoded;  // little-endian, where the file spells elements as numbers

  std::span<const u8> data() const { return decoded.empty() ? raw : std::span<const u8>(decoded); }
  i64 elements() const;
  // Bytes that `elements()` elements take, 4-bit types in pairs.
  u64 data_bytes() const;
};

struct Attribute {
  std::string_view name;
  std::optional<i64> integer;
  std::optional<f32> real;
  std::optional<std::string_view> text;
  std::vector<i64> integers;
  std::vector<f32> reals;
  std::optional<Tensor> tensor;
  bool has_graph = false;  // its subgraph is not read
};

struct Node {
  std::string_view name;
  std::string_view op;
  std::string_view domain;               // "" for ai.onnx
  std::vector<std::string_view> inputs;  // "" where an optional one is left out
  std::vector<std::string_view> outputs;
  std::vector<Attribute> attributes;

  // nullptr if there is none.
  const Attribute* find(std::string_view attribute) const;
  // "" past the end.
  std::string_view input(std::size_t i) const { return i < inputs.size() ? inputs[i] : ""; }
  std::string_view output(std::size_t i) const { return i < outputs.size() ? outputs[i] : ""; }
};

// A graph input or output. Dimensions that the file leaves open are -1.
struct ValueInfo {
  std::string_view name;
  ElementType type = ElementType::kUndefined;
  std::vector<i64> dims;
};

struct OperatorSet {
  std::string_view domain;
  i64 version = 0;
};

struct Graph {
  std::vector<Node> nodes;  // in the file's order, which must be topological
  std::vector<Tensor> initializers;
  std::vector<ValueInfo> inputs;
  std::vector<ValueInfo> outputs;
};

// A parsed file. Borrows the bytes given to parse(), which must outlive it.
struct File {
  i64 ir_version = 0;
  std::string_view producer;
  std::vector<OperatorSet> operator_sets;
  std::vector<std::pair<std::string_view, std::string_view>> properties;
  Graph graph;

  // kCorrupt for broken bytes, kInvalid for contradictions, kLimit past a limit above, kUnsupported
  // for versions, local functions and element types that are not read. One line each.
  static Result<File> parse(std::span<const u8> bytes);

  // Files that the initializers lie in, each once, in order of first use.
  std::vector<std::string> external_locations() const;
  // Gives external initializers their data; `files` holds every location. The bytes must outlive
  // this. kNotFound for a location that is missing, kCorrupt for a range outside its file.
  Status attach(const std::map<std::string, std::span<const u8>, std::less<>>& files);
};

// Text from a file made fit for a one-line message: quoted, at most 80 bytes, others escaped.
std::string quote(std::string_view text);
// "[2,64]"
std::string dims_text(const std::vector<i64>& dims);

}  // namespace tg::onnx
