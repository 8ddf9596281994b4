// The wire format and the messages of a model file, by hand-made bytes.
#include "model/onnx/graph.h"

#include <gtest/gtest.h>

#include "model/onnx/protobuf.h"
#include "model/onnx/testing/proto_writer.h"

namespace tg::onnx {
namespace {

using testing::encode_tensor;
using testing::MadeModel;
using testing::MadeTensor;
using testing::ProtoWriter;

std::string walk(const std::vector<u8>& bytes, i64 budget_fields = kFieldsMax) {
  FieldBudget budget{budget_fields};
  MessageReader reader(bytes, budget);
  Field field;
  std::string out;
  while (true) {
    Result<bool> more = reader.next(field);
    if (!more.ok()) return out + more.error().message;
    if (!*more) return out;
    out += std::to_string(field.number) + ":" +
           (field.wire == Wire::kBytes ? std::string(field.text()) : std::to_string(field.value)) +
           " ";
  }
}

TEST(Protobuf, FieldsOfEveryWireType) {
  EXPECT_EQ(walk({}), "");
  EXPECT_EQ(walk({0x08, 0x96, 0x01}), "1:150 ");
  EXPECT_EQ(walk({0x12, 0x02, 'h', 'i'}), "2:hi ");
  EXPECT_EQ(walk({0x1D, 1, 0, 0, 0}), "3:1 ");
  EXPECT_EQ(walk({0x21, 1, 0, 0, 0, 0, 0, 0, 1}), "4:72057594037927937 ");
  EXPECT_EQ(walk({0x08, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0x01}),
            "1:18446744073709551615 ");
}

TEST(Protobuf, BrokenBytesAreNamed) {
  struct Row {
    std::vector<u8> bytes;
    std::string_view message;
  };
  const Row rows[] = {
      {{0x08}, "onnx: the file ends inside a number"},
      {{0x80}, "onnx: the file ends inside a number"},
      {{0x08, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x01},
       "onnx: a number is longer than 10 bytes"},
      {{0x12, 0x05, 'h', 'i'}, "onnx: field 2 has 5 bytes, 2 are left"},
      {{0x12, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0x01},
       "onnx: field 2 has 18446744073709551615 bytes, 0 are left"},
      {{0x1D, 1, 0, 0}, "onnx: the file ends inside a number"},
      {{0x21, 1, 0, 0, 0, 0, 0, 0}, "onnx: the file ends inside a number"},
      {{0x0B}, "onnx: field 1 has wire type 3"},
      {{0x0C}, "onnx: field 1 has wire type 4"},
      {{0x0E}, "onnx: field 1 has wire type 6"},
      {{0x00, 0x00}, "onnx: field number 0"},
      {{0xF8, 0xFF, 0xFF, 0xFF, 0xFF, 0x7F, 0x00}, "onnx: field number 549755813887"},
  };
  for (const Row& row : rows) EXPECT_EQ(walk(row.bytes), row.message);
  EXPECT_EQ(walk({0x08, 1, 0x08, 2}, 1), "1:1 onnx: more than 16777216 fields");
}

TEST(Protobuf, MessagesNestToALimit) {
  std::vector<u8> bytes;
  for (i32 depth = 0; depth < kMessageDepthMax + 2; ++depth) {
    ProtoWriter outer;
    outer.bytes(1, bytes);
    bytes = outer.done();
  }
  FieldBudget budget;
  MessageReader reader(bytes, budget);
  for (i32 depth = 0; depth < kMessageDepthMax; ++depth) {
    Field field;
    ASSERT_TRUE(reader.next(field).value());
    Result<MessageReader> child = reader.child(field);
    ASSERT_TRUE(child.ok()) << depth;
    reader = *child;
  }
  Field field;
  ASSERT_TRUE(reader.next(field).value());
  EXPECT_EQ(reader.child(field).error().message, "onnx: messages nest deeper than 8");
  EXPECT_EQ(as_integer(field).error().message, "onnx: field 1 has wire type 2, expected a varint");
}

// A model whose graph holds the one tensor.
std::vector<u8> model_with(const ProtoWriter& tensor) {
  ProtoWriter graph;
  graph.message(5, tensor);
  ProtoWriter model;
  model.varint(1, 10);
  model.message(7, graph);
  return model.done();
}

std::string tensor_error(const ProtoWriter& tensor) {
  Result<File> file = File::parse(model_with(tensor));
  return file.ok() ? "no error" : file.error().message;
}

ProtoWriter header(ElementType type, std::vector<i64> dims) {
  ProtoWriter out;
  for (i64 dim : dims) out.varint(1, dim);
  out.varint(2, static_cast<i64>(type));
  out.text(8, "t");
  return out;
}

TEST(Graph, ElementsAsNumbersBecomeBytes) {
  ProtoWriter integers = header(ElementType::kInt64, {3});
  integers.varint(7, 1);
  ProtoWriter packed;
  packed.raw_varint(static_cast<u64>(-2));
  packed.raw_varint(300);
  integers.bytes(7, packed.done());
  std::vector<u8> bytes = model_with(integers);
  File file = File::parse(bytes).value();
  std::span<const u8> data = file.graph.initializers[0].data();
  ASSERT_EQ(data.size(), 24u);
  EXPECT_EQ(data[0], 1);
  EXPECT_EQ(data[8], 0xFE);
  EXPECT_EQ(data[15], 0xFF);
  EXPECT_EQ(data[17], 1);

  ProtoWriter halves = header(ElementType::kFloat16, {2});
  halves.varint(5, 0x3C00);
  halves.varint(5, 0xC000);
  bytes = model_with(halves);
  file = File::parse(bytes).value();
  data = file.graph.initializers[0].data();
  EXPECT_EQ(std::vector<u8>(data.begin(), data.end()), (std::vector<u8>{0x00, 0x3C, 0x00, 0xC0}));

  ProtoWriter floats = header(ElementType::kFloat, {3});
  floats.fixed32(4, 0x3F80'0000);
  std::vector<u8> two = {0, 0, 0, 0x40, 0, 0, 0x40, 0x40};
  floats.bytes(4, two);
  bytes = model_with(floats);
  file = File::parse(bytes).value();
  data = file.graph.initializers[0].data();
  EXPECT_EQ(std::vector<u8>(data.begin(), data.end()),
            (std::vector<u8>{0, 0, 0x80, 0x3F, 0, 0, 0, 0x40, 0, 0, 0x40, 0x40}));
}

TEST(Graph, ContradictoryTensorsAreRefused) {
  ProtoWriter few = header(ElementType::kInt64, {3});
  few.varint(7, 1);
  EXPECT_EQ(tensor_error(few), "onnx: tensor 't' is int64[3] but has 8 bytes");
  ProtoWriter many = header(ElementType::kInt64, {1});
  many.varint(7, 1);
  many.varint(7, 2);
  EXPECT_EQ(tensor_error(many), "onnx: tensor 't' has more elements than [1]");
  ProtoWriter other = header(ElementType::kInt64, {1});
  other.varint(5, 1);
  EXPECT_EQ(tensor_error(other), "onnx: tensor 't' of type int64 has its elements in field 5");
  ProtoWriter twice = header(ElementType::kInt32, {1});
  twice.varint(5, 1);
  twice.text(9, "1234");
  EXPECT_EQ(tensor_error(twice), "onnx: tensor 't' has its data twice");
  ProtoWriter text = header(ElementType::kString, {1});
  EXPECT_EQ(tensor_error(text), "onnx: tensor 't' has elements of type 8");
  ProtoWriter huge = header(ElementType::kFloat, {1 << 30, 1 << 30});
  EXPECT_EQ(tensor_error(huge), "onnx: tensor 't' is [1073741824,1073741824]");
  ProtoWriter segment = header(ElementType::kFloat, {1});
  segment.text(3, "");
  EXPECT_EQ(tensor_error(segment), "onnx: a tensor in segments");
  ProtoWriter place = header(ElementType::kFloat, {1});
  place.varint(14, 7);
  EXPECT_EQ(tensor_error(place), "onnx: data_location 7");
}

MadeModel external_model(i64 offset) {
  MadeModel model;
  model.tensors.push_back({.name = "t",
                           .type = ElementType::kFloat,
                           .dims = {2},
                           .data = std::vector<u8>(8),
                           .location = "weights/a.bin",
                           .offset = offset});
  return model;
}

TEST(Graph, ExternalDataStaysInItsFile) {
  std::vector<u8> data = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9};
  std::map<std::string, std::span<const u8>, std::less<>> files = {{"weights/a.bin", data}};
  std::vector<u8> bytes = external_model(2).encode();
  File file = File::parse(bytes).value();
  EXPECT_EQ(file.external_locations(), std::vector<std::string>{"weights/a.bin"});
  ASSERT_TRUE(file.attach(files).ok());
  EXPECT_EQ(file.graph.initializers[0].data().data(), data.data() + 2);
  for (i64 offset : {i64{3}, i64{11}, i64{999'999'999'999'999'999}}) {
    bytes = external_model(offset).encode();
    Status status = File::parse(bytes).value().attach(files);
    EXPECT_EQ(status.error().message, "onnx: tensor 't' lies at " + std::to_string(offset) +
                                          "+8 of 'weights/a.bin', which has 10 bytes");
  }
  bytes = external_model(-1).encode();
  EXPECT_EQ(File::parse(bytes).error().message, "onnx: external data's offset is '-1'");
  bytes = external_model(0).encode();
  EXPECT_EQ(File::parse(bytes).value().attach({}).error().message,
            "onnx: external data in 'weights/a.bin' is missing");
  MadeModel longer = external_model(0);
  longer.tensors[0].data.resize(9);
  bytes = longer.encode();
  EXPECT_EQ(File::parse(bytes).value().attach(files).error().message,
            "onnx: tensor 't' is float[2] but has 9 bytes");
}

TEST(Graph, TheFileAsAWhole) {
  EXPECT_EQ(File::parse({}).error().message, "onnx: the file has no graph");
  ProtoWriter twice;
  twice.message(7, ProtoWriter());
  twice.message(7, ProtoWriter());
  EXPECT_EQ(File::parse(twice.done()).error().message, "onnx: the file has two graphs");
  ProtoWriter local;
  local.message(25, ProtoWriter());
  EXPECT_EQ(File::parse(local.done()).error().message, "onnx: functions local to the model");
  ProtoWriter named;
  named.text(2, std::string(1'025, 'x'));
  EXPECT_EQ(File::parse(named.done()).error().message, "onnx: a name has 1025 bytes, at most 1024");
}

}  // namespace
}  // namespace tg::onnx
