// One function per message of onnx.proto3; the numbers are its field numbers. Of a field that is
// given twice the last counts, as in every protobuf reader, but for the graph itself.
#include "model/onnx/graph.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <bit>

#include "base/bytes.h"
#include "model/onnx/message.h"

namespace tg::onnx {
namespace {

Status read_reals(const Field& field, std::vector<f32>& out) {
  if (field.wire == Wire::kFixed32) {
    TG_ASSIGN(f32 value, as_float(field));
    return push(out, value, "floats in an attribute", kAttributeItemsMax);
  }
  TG_ASSIGN(std::span<const u8> bytes, as_bytes(field));
  Reader reader(bytes, "onnx");
  while (reader.remaining() > 0) {
    TG_ASSIGN(u32 bits, reader.u32_le());
    TG_TRY(push(out, std::bit_cast<f32>(bits), "floats in an attribute", kAttributeItemsMax));
  }
  return {};
}

Result<Attribute> read_attribute(const MessageReader& parent, const Field& message) {
  TG_ASSIGN(MessageReader reader, parent.child(message));
  Attribute out;
  TG_TRY(each_field(reader, [&](const Field& field) -> Status {
    switch (field.number) {
      case 1: {
        TG_ASSIGN(out.name, read_name(field));
        return {};
      }
      case 2: {
        TG_ASSIGN(out.real, as_float(field));
        return {};
      }
      case 3: {
        TG_ASSIGN(out.integer, as_integer(field));
        return {};
      }
      case 4: {
        TG_ASSIGN(out.text, as_text(field));
        return {};
      }
      case 5: {
        TG_ASSIGN(out.tensor, read_tensor(reader, field));
        return {};
      }
      case 6:
      case 11: out.has_graph = true; return {};
      case 7: return read_reals(field, out.reals);
      case 8:
        return each_varint(field, [&](u64 value) {
          return push(out.integers, static_cast<i64>(value), "integers in an attribute",
                      kAttributeItemsMax);
        });
      default: return {};
    }
  }));
  return out;
}

Result<Node> read_node(const MessageReader& parent, const Field& message) {
  TG_ASSIGN(MessageReader reader, parent.child(message));
  Node out;
  TG_TRY(each_field(reader, [&](const Field& field) -> Status {
    if (field.number == 5) {
      TG_ASSIGN(Attribute attribute, read_attribute(reader, field));
      return push(out.attributes, std::move(attribute), "attributes of a node", kAttributesMax);
    }
    if (field.number == 0 || field.number > 7 || field.number == 6) return {};
    TG_ASSIGN(std::string_view text, read_name(field));
    switch (field.number) {
      case 1: return push(out.inputs, text, "inputs of a node", kNodeValuesMax);
      case 2: return push(out.outputs, text, "outputs of a node", kNodeValuesMax);
      case 3: out.name = text; return {};
      case 4: out.op = text; return {};
      default: out.domain = text == "ai.onnx" ? "" : text; return {};
    }
  }));
  return out;
}

// TensorShapeProto: a dimension is a number, a name or nothing.
Status read_shape(const MessageReader& parent, const Field& message, std::vector<i64>& dims) {
  TG_ASSIGN(MessageReader shape, parent.child(message));
  return each_field(shape, [&](const Field& field) -> Status {
    if (field.number != 1) return {};
    TG_ASSIGN(MessageReader dimension, shape.child(field));
    i64 size = -1;
    TG_TRY(each_field(dimension, [&](const Field& f) -> Status {
      if (f.number != 1) return {};
      TG_ASSIGN(size, as_integer(f));
      return {};
    }));
    return push(dims, size, "dimensions", kDimsMax);
  });
}

// TypeProto, of which only tensors are known.
Status read_type(const MessageReader& parent, const Field& message, ValueInfo& out) {
  TG_ASSIGN(MessageReader type, parent.child(message));
  return each_field(type, [&](const Field& field) -> Status {
    if (field.number != 1) return {};
    TG_ASSIGN(MessageReader tensor, type.child(field));
    return each_field(tensor, [&](const Field& f) -> Status {
      if (f.number == 2) return read_shape(tensor, f, out.dims);
      if (f.number != 1) return {};
      TG_ASSIGN(i64 element, as_integer(f));
      out.type = static_cast<ElementType>(static_cast<i32>(std::clamp<i64>(element, -1, 1'000)));
      return {};
    });
  });
}

Result<ValueInfo> read_value_info(const MessageReader& parent, const Field& message) {
  TG_ASSIGN(MessageReader reader, parent.child(message));
  ValueInfo out;
  TG_TRY(each_field(reader, [&](const Field& field) -> Status {
    if (field.number == 2) return read_type(reader, field, out);
    if (field.number != 1) return {};
    TG_ASSIGN(out.name, read_name(field));
    return {};
  }));
  return out;
}

Result<Graph> read_graph(const MessageReader& parent, const Field& message) {
  TG_ASSIGN(MessageReader reader, parent.child(message));
  Graph out;
  TG_TRY(each_field(reader, [&](const Field& field) -> Status {
    switch (field.number) {
      case 1: {
        TG_ASSIGN(Node node, read_node(reader, field));
        return push(out.nodes, std::move(node), "nodes", kNodesMax);
      }
      case 5: {
        TG_ASSIGN(Tensor tensor, read_tensor(reader, field));
        return push(out.initializers, std::move(tensor), "initializers", kTensorsMax);
      }
      case 11:
      case 12: {
        TG_ASSIGN(ValueInfo value, read_value_info(reader, field));
        return push(field.number == 11 ? out.inputs : out.outputs, std::move(value),
                    "inputs or outputs of the graph", kValuesMax);
      }
      case 15: return Error{Code::kUnsupported, "onnx: sparse initializers"};
      default: return {};
    }
  }));
  return out;
}

Result<OperatorSet> read_operator_set(const MessageReader& parent, const Field& message) {
  TG_ASSIGN(MessageReader reader, parent.child(message));
  OperatorSet out;
  TG_TRY(each_field(reader, [&](const Field& field) -> Status {
    if (field.number == 1) {
      TG_ASSIGN(out.domain, read_name(field));
    } else if (field.number == 2) {
      TG_ASSIGN(out.version, as_integer(field));
    }
    return {};
  }));
  if (out.domain == "ai.onnx") out.domain = "";
  return out;
}

class ModelReader {
 public:
  static Result<File> read(std::span<const u8> bytes) {
    ModelReader model(bytes);
    TG_TRY(each_field(model.reader_, [&](const Field& field) { return model.field(field); }));
    if (!model.has_graph_) return Error{Code::kCorrupt, "onnx: the file has no graph"};
    if (model.out_.ir_version < kIrVersionMin || model.out_.ir_version > kIrVersionMax)
      return Error{Code::kUnsupported,
                   fmt::format("onnx: ir_version {}, read are {} to {}", model.out_.ir_version,
                               kIrVersionMin, kIrVersionMax)};
    return std::move(model.out_);
  }

 private:
  explicit ModelReader(std::span<const u8> bytes) : reader_(bytes, budget_) {}

  Status field(const Field& field);

  File out_;
  bool has_graph_ = false;
  FieldBudget budget_;
  MessageReader reader_;
};

Status ModelReader::field(const Field& field) {
  switch (field.number) {
    case 1: {
      TG_ASSIGN(out_.ir_version, as_integer(field));
      return {};
    }
    case 2: {
      TG_ASSIGN(out_.producer, read_name(field));
      return {};
    }
    case 7: {
      if (has_graph_) return Error{Code::kCorrupt, "onnx: the file has two graphs"};
      has_graph_ = true;
      TG_ASSIGN(out_.graph, read_graph(reader_, field));
      return {};
    }
    case 8: {
      TG_ASSIGN(OperatorSet set, read_operator_set(reader_, field));
      return push(out_.operator_sets, set, "operator sets", kPropertiesMax);
    }
    case 14: {
      TG_ASSIGN(Property entry, read_property(reader_, field));
      return push(out_.properties, {entry.key, entry.value}, "properties", kPropertiesMax);
    }
    case 25: return Error{Code::kUnsupported, "onnx: functions local to the model"};
    default: return {};
  }
}

Status attach_one(std::span<const u8> file, Tensor& tensor) {
  const ExternalData& external = *tensor.external;
  u64 expected = tensor.data_bytes();
  u64 length = external.length.value_or(expected);
  if (length != expected)
    return Error{Code::kCorrupt,
                 fmt::format("onnx: tensor {} is {}{} but has {} bytes", quote(tensor.name),
                             name(tensor.type), dims_text(tensor.dims), length)};
  if (external.offset > file.size() || length > file.size() - external.offset)
    return Error{
        Code::kCorrupt,
        fmt::format("onnx: tensor {} lies at {}+{} of {}, which has {} bytes", quote(tensor.name),
                    external.offset, length, quote(external.location), file.size())};
  tensor.raw =
      file.subspan(static_cast<std::size_t>(external.offset), static_cast<std::size_t>(length));
  return {};
}

}  // namespace

std::string name(ElementType type) {
  switch (type) {
    case ElementType::kFloat: return "float";
    case ElementType::kUint8: return "uint8";
    case ElementType::kInt8: return "int8";
    case ElementType::kUint16: return "uint16";
    case ElementType::kInt16: return "int16";
    case ElementType::kInt32: return "int32";
    case ElementType::kInt64: return "int64";
    case ElementType::kBool: return "bool";
    case ElementType::kFloat16: return "float16";
    case ElementType::kDouble: return "double";
    case ElementType::kUint32: return "uint32";
    case ElementType::kUint64: return "uint64";
    case ElementType::kBfloat16: return "bfloat16";
    case ElementType::kUint4: return "uint4";
    case ElementType::kInt4: return "int4";
    case ElementType::kUndefined:
    case ElementType::kString: break;
  }
  return std::to_string(static_cast<i32>(type));
}

i64 element_bits(ElementType type) {
  switch (type) {
    case ElementType::kUint4:
    case ElementType::kInt4: return 4;
    case ElementType::kUint8:
    case ElementType::kInt8:
    case ElementType::kBool: return 8;
    case ElementType::kUint16:
    case ElementType::kInt16:
    case ElementType::kFloat16:
    case ElementType::kBfloat16: return 16;
    case ElementType::kFloat:
    case ElementType::kInt32:
    case ElementType::kUint32: return 32;
    case ElementType::kInt64:
    case ElementType::kDouble:
    case ElementType::kUint64: return 64;
    default: return 0;
  }
}

bool is_real(ElementType type) {
  return type == ElementType::kFloat || type == ElementType::kFloat16 ||
         type == ElementType::kBfloat16;
}

bool is_integer(ElementType type) {
  return type == ElementType::kInt32 || type == ElementType::kInt64;
}

i64 Tensor::elements() const {
  i64 product = 1;
  for (i64 dim : dims) product *= dim;
  return product;
}

u64 Tensor::data_bytes() const {
  return (static_cast<u64>(elements()) * static_cast<u64>(element_bits(type)) + 7) / 8;
}

const Attribute* Node::find(std::string_view attribute) const {
  for (const Attribute& a : attributes)
    if (a.name == attribute) return &a;
  return nullptr;
}

Result<File> File::parse(std::span<const u8> bytes) {
  return ModelReader::read(bytes);
}

std::vector<std::string> File::external_locations() const {
  std::vector<std::string> out;
  std::map<std::string_view, bool> seen;
  for (const Tensor& tensor : graph.initializers) {
    if (!tensor.external.has_value()) continue;
    if (seen.emplace(tensor.external->location, true).second)
      out.emplace_back(tensor.external->location);
  }
  return out;
}

Status File::attach(const std::map<std::string, std::span<const u8>, std::less<>>& files) {
  for (Tensor& tensor : graph.initializers) {
    if (!tensor.external.has_value()) continue;
    std::map<std::string, std::span<const u8>, std::less<>>::const_iterator found =
        files.find(tensor.external->location);
    if (found == files.end())
      return Error{Code::kNotFound,
                   "onnx: external data in " + quote(tensor.external->location) + " is missing"};
    TG_TRY(attach_one(found->second, tensor));
  }
  return {};
}

std::string quote(std::string_view text) {
  constexpr std::size_t kShown = 80;
  std::string out = "'";
  for (char c : text.substr(0, kShown)) {
    bool plain = c >= 0x20 && c < 0x7F && c != '\\' && c != '\'';
    out += plain ? std::string(1, c) : fmt::format("\\x{:02x}", static_cast<u8>(c));
  }
  return out + (text.size() > kShown ? "...'" : "'");
}

std::string dims_text(const std::vector<i64>& dims) {
  return fmt::format("[{}]", fmt::join(dims, ","));
}

}  // namespace tg::onnx
