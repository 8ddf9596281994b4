// The container: what is written is read back, and no bytes from outside crash the reader or the
// importer behind it.
#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "base/bytes.h"
#include "env/disk.h"
#include "isa/dtype.h"
#include "model/gguf/reader.h"
#include "model/gguf/writer.h"
#include "model/import.h"
#include "model/synth.h"
#include "model/vocabulary.h"

namespace tg::gguf {
namespace {

using isa::DType;

Header sample_header() {
  Header header;
  header.set("a.u32", u32{7});
  header.set("a.i32", i32{-7});
  header.set("a.u64", u64{1} << 40);
  header.set("a.f32", 0.5f);
  header.set("a.bool", true);
  header.set("a.text", std::string("x\ny"));
  header.set("a.ints", std::vector<i32>{1, -2});
  header.set("a.reals", std::vector<f32>{1.5f, -2});
  header.set("a.texts", std::vector<std::string>{"one", "", "three"});
  header.tensors = {{"m", DType::kQ4_0, {3, 64}}, {"v", DType::kF32, {5}}};
  return header;
}

std::vector<u8> sample_bytes() {
  std::vector<u8> bytes = encode_header(sample_header()).value();
  bytes.resize(bytes.size() + 3 * 36 + 20 + 20);  // m, padding to 32, v
  return bytes;
}

TEST(Gguf, ReadsBackWhatIsWritten) {
  std::vector<u8> bytes = sample_bytes();
  File file = File::parse(bytes).value();
  EXPECT_EQ(file.version(), 3u);
  EXPECT_EQ(file.integer("a.u32").value(), 7u);
  EXPECT_EQ(file.integer("a.u64").value(), u64{1} << 40);
  EXPECT_EQ(file.real("a.f32").value(), 0.5);
  EXPECT_EQ(file.boolean("a.bool").value(), true);
  EXPECT_EQ(file.text("a.text").value(), "x\ny");
  EXPECT_EQ(file.integers("a.ints").value(), (std::vector<i64>{1, -2}));
  EXPECT_EQ(file.reals("a.reals").value(), (std::vector<f32>{1.5f, -2}));
  EXPECT_EQ(file.texts("a.texts").value(), (std::vector<std::string_view>{"one", "", "three"}));
  EXPECT_FALSE(file.integer("a.none").value().has_value());
  const Tensor* m = file.find_tensor("m");
  ASSERT_NE(m, nullptr);
  EXPECT_EQ(m->dims, (std::vector<i64>{3, 64}));
  EXPECT_EQ(m->codec, DType::kQ4_0);
  EXPECT_EQ(m->bytes, 3u * 36);
  EXPECT_EQ(m->data.data(), bytes.data() + file.header_bytes());
  EXPECT_EQ(file.find_tensor("v")->offset, 128u);
}

TEST(Gguf, ReadsVersion2) {
  std::vector<u8> bytes = sample_bytes();
  bytes[4] = 2;
  EXPECT_EQ(File::parse(bytes).value().version(), 2u);
}

TEST(Gguf, TypeErrorsNameKeyAndBothTypes) {
  std::vector<u8> bytes = sample_bytes();
  File file = File::parse(bytes).value();
  EXPECT_EQ(file.integer("a.text").error().message,
            "gguf: key 'a.text' is of type string, expected an integer");
  EXPECT_EQ(file.texts("a.ints").error().message,
            "gguf: key 'a.ints' is of type array of i32, expected an array of string");
  EXPECT_EQ(file.integer("a.i32").error().message,
            "gguf: key 'a.i32' is -7, expected no negative number");
}

// Overwrites `value` little-endian at `at`.
void poke(std::vector<u8>& bytes, std::size_t at, u64 value, std::size_t size) {
  for (std::size_t i = 0; i < size; ++i) bytes[at + i] = static_cast<u8>(value >> (8 * i));
}

std::size_t find_name(const std::vector<u8>& bytes, std::string_view name) {
  std::size_t at = as_text(bytes).find(name);
  EXPECT_NE(at, std::string_view::npos) << name;
  return at + name.size();
}

std::string parse_error(std::span<const u8> bytes) {
  Result<File> file = File::parse(bytes);
  return file.ok() ? "no error" : file.error().message;
}

TEST(Gguf, ErrorsNamePlaceAndValue) {
  struct Case {
    std::string_view behind;  // the bytes after this name
    std::size_t skip;
    u64 value;
    std::size_t size;
    std::string_view error;
  };
  // Names of one letter, found by their length.
  constexpr std::string_view kTensorM("\x01\0\0\0\0\0\0\0m", 9);
  constexpr std::string_view kTensorV("\x01\0\0\0\0\0\0\0v", 9);
  const Case cases[] = {
      {"GGUF", 0, 1, 4, "gguf: version 1 is not read"},
      {"GGUF", 0, 0x0300'0000, 4, "gguf: version 50331648 is not read (a big-endian file?)"},
      {"GGUF", 4, 1 << 20, 8, "gguf: tensor count 1048576 is over the limit of 65536"},
      {"GGUF", 12, 1 << 20, 8, "gguf: key count 1048576 is over the limit of 65536"},
      {"a.u32", 0, 99, 4, "gguf: value type 99 at byte 37 is not known"},
      {"a.bool", 4, 2, 1, "gguf: bool at byte 130 is 2 (value of key 'a.bool')"},
      {"a.ints", 4, 13, 4, "gguf: value type 13 at byte 178 is not known (value of key 'a.ints')"},
      {"a.ints", 8, 1 << 30, 8,
       "gguf: array length 1073741824 is over the limit of 16777216 (value of key 'a.ints')"},
      // Behind tensor m: rank u32, dims u64 each, type u32, offset u64.
      {kTensorM, 0, 0, 4, "gguf: tensor 'm' has 0 dimensions, 1 to 4 are read"},
      {kTensorM, 0, 5, 4, "gguf: tensor 'm' has 5 dimensions, 1 to 4 are read"},
      {kTensorM, 4, 0, 8, "gguf: tensor 'm' has a dimension of 0"},
      {kTensorM, 4, u64{1} << 60, 8, "gguf: tensor 'm' has a dimension of 1152921504606846976"},
      {kTensorM, 4, 65, 8, "gguf: tensor 'm': rows of 65 elements are not whole q4_0 blocks of 32"},
      {kTensorM, 4, 640, 8, "gguf: tensor 'm' needs 1080 bytes at offset 0, the data has 148"},
      {kTensorM, 20, 77, 4, "gguf: tensor 'm': tensor type 77 is not known"},
      {kTensorM, 20, 16, 4, "gguf: tensor 'm': tensor type 16 (iq2_xxs) is not supported"},
      {kTensorM, 24, 4, 8, "gguf: tensor 'm' at offset 4 is not aligned to 32"},
      {kTensorM, 24, ~u64{31}, 8,
       "gguf: tensor 'm' needs 108 bytes at offset 18446744073709551584, the data has 148"},
      {kTensorV, 16, 96, 8, "gguf: tensor 'v' at offset 96 overlaps 'm', which ends at 108"},
  };
  for (const Case& c : cases) {
    std::vector<u8> bytes = sample_bytes();
    poke(bytes, find_name(bytes, c.behind) + c.skip, c.value, c.size);
    EXPECT_EQ(parse_error(bytes), c.error);
  }
}

TEST(Gguf, RefusesDoubleNamesAndBadAlignment) {
  Header header = sample_header();
  header.metadata.emplace_back("a.u32", u32{8});
  EXPECT_EQ(parse_error(encode_header(header).value()), "gguf: key 'a.u32' appears twice");
  header = sample_header();
  header.tensors.push_back(header.tensors[1]);
  EXPECT_EQ(parse_error(encode_header(header).value()), "gguf: tensor 'v' appears twice");
  for (u32 alignment : {0u, 4u, 24u, 1u << 24}) {
    header = sample_header();
    header.set("general.alignment", alignment);
    EXPECT_EQ(parse_error(encode_header(header).value()),
              "gguf: general.alignment " + std::to_string(alignment) +
                  " is not a power of two from 8 to 1048576");
  }
}

TEST(Gguf, RefusesDeepArrays) {
  std::vector<u8> bytes;
  append_u32(bytes, kMagic);
  append_u32(bytes, 3);
  append_u64(bytes, 0);
  append_u64(bytes, 1);
  append_u64(bytes, 1);
  append_u8(bytes, 'k');
  append_u32(bytes, 9);
  for (int i = 0; i < 5; ++i) {
    append_u32(bytes, 9);
    append_u64(bytes, 1);
  }
  EXPECT_EQ(parse_error(bytes), "gguf: array nesting 5 is over the limit of 4 (value of key 'k')");
}

TEST(Gguf, WriterRefusesWhatTheContainerCannotHold) {
  EXPECT_EQ(tensor_bytes({"t", DType::kNvfp4, {16}}).error().message,
            "gguf: cannot write tensor 't' as nvfp4[16]");
  EXPECT_FALSE(tensor_bytes({"t", DType::kQ4K, {100}}).ok());
  EXPECT_FALSE(tensor_bytes({"t", DType::kF32, {}}).ok());
  EXPECT_FALSE(tensor_bytes({"t", DType::kF32, {4, 0}}).ok());
  EXPECT_FALSE(tensor_bytes({"t", DType::kF32, {i64{1} << 40, i64{1} << 40}}).ok());
}

TEST(Gguf, WriterStreamsAndLeavesNothingBehind) {
  std::string path = testing::TempDir() + "tg_writer_test.gguf";
  {
    Writer writer = Writer::create(path, sample_header()).value();
    std::vector<u8> some(36, 1);
    ASSERT_TRUE(writer.append(some).ok());  // dropped before the end
  }
  EXPECT_FALSE(MappedFile::open(path).ok());
  EXPECT_FALSE(MappedFile::open(path + ".tmp").ok());
  Writer writer = Writer::create(path, sample_header()).value();
  std::vector<u8> m(108, 1);
  std::vector<u8> v(20, 2);
  ASSERT_TRUE(writer.append(std::span<const u8>(m).first(50)).ok());
  ASSERT_TRUE(writer.append(std::span<const u8>(m).last(58)).ok());
  ASSERT_TRUE(writer.append(v).ok());
  ASSERT_TRUE(writer.finish().ok());
  MappedFile mapped = MappedFile::open(path).value();
  File file = File::parse(mapped.bytes()).value();
  EXPECT_TRUE(std::ranges::equal(file.find_tensor("m")->data, m));
  EXPECT_TRUE(std::ranges::equal(file.find_tensor("v")->data, v));
  EXPECT_FALSE(Writer::create("/nonexistent/x.gguf", sample_header()).ok());
  std::remove(path.c_str());
}

TEST(Gguf, EveryTensorTypeNumberIsAnsweredOnce) {
  i64 known = 0;
  for (u32 number = 0; number < 64; ++number) {
    Result<DType> codec = codec_of_tensor_type(number);
    if (!codec.ok()) {
      EXPECT_EQ(codec.error().code, Code::kUnsupported);
      continue;
    }
    EXPECT_EQ(tensor_type_of_codec(*codec), number);
    ++known;
  }
  EXPECT_EQ(known, 21);
}

// The smallest model that imports, as a file with data.
std::vector<u8> small_model() {
  model::SynthShape shape = {.name = "t",
                             .architecture = "llama",
                             .layers = 1,
                             .width = 32,
                             .heads = 2,
                             .kv_heads = 1,
                             .head_dim = 16,
                             .ffn = 32,
                             .vocabulary = 257,
                             .context = 64};
  Header header = model::synth_header(shape, "q8_0", false).value();
  std::vector<u8> bytes = encode_header(header).value();
  for (const TensorDecl& tensor : header.tensors)
    bytes.resize((bytes.size() + tensor_bytes(tensor).value() + 31) / 32 * 32);
  return bytes;
}

// What a fuzzer checks: any bytes give an error or a model.
bool loads(std::span<const u8> bytes) {
  Result<File> file = File::parse(bytes);
  if (!file.ok()) return false;
  Result<Vocab> vocab = model::read_vocab(*file);
  Result<model::Imported> imported = model::import_program(*file, {});
  return imported.ok() && vocab.ok();
}

TEST(GgufCorruption, EveryTruncationIsAnError) {
  std::vector<u8> bytes = small_model();
  ASSERT_TRUE(loads(bytes));
  u64 header = File::parse(bytes).value().header_bytes();
  for (u64 length = 0; length < header; ++length) {
    // A copy of the exact size, so that a sanitizer sees any read behind the end.
    std::vector<u8> cut(bytes.begin(), bytes.begin() + static_cast<i64>(length));
    EXPECT_FALSE(loads(cut)) << length;
  }
}

TEST(GgufCorruption, EveryFlippedByteIsAnErrorOrAModel) {
  const std::vector<u8> bytes = small_model();
  u64 header = File::parse(bytes).value().header_bytes();
  i64 loaded = 0;
  i64 refused = 0;
  for (u64 at = 0; at < header; ++at) {
    for (int other : {bytes[at] ^ 1, bytes[at] ^ 0x80, 0, 0xFF}) {
      u8 value = static_cast<u8>(other);
      if (value == bytes[at]) continue;
      std::vector<u8> flipped = bytes;
      flipped[at] = value;
      loads(flipped) ? ++loaded : ++refused;
    }
  }
  // Letters of token texts may change freely; structure may not.
  EXPECT_GT(loaded, 100);
  EXPECT_GT(refused, 1'000);
}

}  // namespace
}  // namespace tg::gguf
