// The container alone: what is written is read, and one line for every way in which a header, an
// index or a directory can be wrong.
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

#include "base/bytes.h"
#include "model/safetensors/header.h"
#include "model/safetensors/shards.h"
#include "model/safetensors/writer.h"

namespace tg::safetensors {
namespace {

std::vector<u8> file_of(std::string_view header, std::size_t data_bytes) {
  std::vector<u8> out;
  append_u64(out, header.size());
  for (char c : header) out.push_back(static_cast<u8>(c));
  out.resize(out.size() + data_bytes);
  return out;
}

std::string outcome(std::span<const u8> bytes) {
  Result<File> file = File::parse(bytes);
  return file.ok() ? "ok" : file.error().message;
}

TEST(Safetensors, EveryHeaderGivesItsOneLine) {
  std::ifstream lines(std::string(TG_SOURCE_DIR) + "/src/model/testdata/safetensors.txt");
  i64 cases = 0;
  for (std::string line; std::getline(lines, line);) {
    if (line.empty() || line[0] == '#') continue;
    std::size_t arrow = line.find(" => ");
    ASSERT_NE(arrow, std::string::npos) << line;
    std::size_t bar = line.rfind(" | ", arrow);
    ASSERT_NE(bar, std::string::npos) << line;
    std::vector<u8> bytes = file_of(line.substr(0, bar), std::stoull(line.substr(bar + 3)));
    EXPECT_EQ(outcome(bytes), line.substr(arrow + 4)) << line.substr(0, arrow);
    ++cases;
  }
  EXPECT_GT(cases, 45);
}

std::vector<NewTensor> some_tensors() {
  return {{"b.weight", DType::kF16, {2, 3}, std::vector<u8>(12, 7)},
          {"a \"quoted\"\n", DType::kI64, {1}, std::vector<u8>(8, 9)},
          {"scalar", DType::kE4m3, {}, {3}},
          {"none", DType::kF32, {4, 0}, {}}};
}

TEST(Safetensors, ReadsWhatIsWritten) {
  std::vector<u8> bytes = encode(some_tensors(), {{"format", "pt"}});
  EXPECT_EQ(bytes.size() % 8, 21u % 8);
  File file = File::parse(bytes).value();
  std::vector<NewTensor> expected = some_tensors();
  ASSERT_EQ(file.tensors().size(), expected.size());
  for (std::size_t i = 0; i < expected.size(); ++i) {
    const Tensor& tensor = file.tensors()[i];
    EXPECT_EQ(tensor.name, expected[i].name);
    EXPECT_EQ(tensor.dtype, expected[i].dtype);
    EXPECT_EQ(tensor.dims, expected[i].dims);
    EXPECT_TRUE(std::equal(tensor.data.begin(), tensor.data.end(), expected[i].data.begin(),
                           expected[i].data.end()));
    EXPECT_EQ(file.find(expected[i].name), &tensor);
  }
  EXPECT_EQ(file.metadata().at("format"), "pt");
  EXPECT_EQ(file.find("c"), nullptr);
}

TEST(Safetensors, EveryTruncationAndFlippedBitIsHandled) {
  std::vector<u8> bytes = encode(some_tensors());
  for (std::size_t size = 0; size < bytes.size(); ++size)
    EXPECT_NE(outcome(std::span(bytes).first(size)), "ok") << size;
  for (std::size_t i = 0; i < bytes.size(); ++i) {
    for (u8 bit = 1; bit != 0; bit = static_cast<u8>(bit << 1)) {
      bytes[i] ^= bit;
      Result<File> file = File::parse(bytes);
      EXPECT_TRUE(file.ok() || !file.error().message.empty());
      bytes[i] ^= bit;
    }
  }
}

TEST(Safetensors, LengthsAreLimited) {
  std::vector<u8> bytes = file_of("{}", 0);
  bytes[7] = 1;
  EXPECT_EQ(outcome(bytes),
            "safetensors: header of 72057594037927938 bytes is over the limit of 100000000");
  bytes[7] = 0;
  bytes[0] = 3;
  EXPECT_EQ(outcome(bytes), "safetensors: ends at byte 10, but 3 bytes were expected at offset 8");
  EXPECT_EQ(outcome(std::span(bytes).first(5)),
            "safetensors: ends at byte 5, but 8 bytes were expected at offset 0");
}

TEST(Safetensors, DepthCostsNothing) {
  std::string deep(1 << 20, '[');
  EXPECT_EQ(outcome(file_of(deep, 0)), "safetensors: the header is not an object");
  EXPECT_EQ(read_index("{\"x\":" + deep).error().message,
            "model.safetensors.index.json: not JSON at byte 1048582");
}

// A directory that is gone when the test is.
class TemporaryDirectory {
 public:
  explicit TemporaryDirectory(const std::string& name)
      : path_(testing::TempDir() + "tg_safetensors_" + name) {
    std::filesystem::remove_all(path_);
    std::filesystem::create_directory(path_);
  }
  ~TemporaryDirectory() { std::filesystem::remove_all(path_); }
  const std::string& path() const { return path_; }
  void put(const std::string& file, std::span<const u8> bytes) const {
    ASSERT_TRUE(write_file_durably(path_ + "/" + file, bytes, 0600).ok());
  }

 private:
  std::string path_;
};

TEST(Shards, OneFileOrMany) {
  TemporaryDirectory directory("many");
  EXPECT_EQ(Shards::open(directory.path()).error().message, "model.safetensors is missing");
  directory.put("model.safetensors", encode(some_tensors()));
  Shards one = Shards::open(directory.path()).value();
  EXPECT_EQ(one.tensors().size(), 4u);
  directory.put("m-1.safetensors", encode({{"a", DType::kI8, {1}, {1}}}));
  directory.put("m-2.safetensors",
                encode({{"b", DType::kI8, {1}, {2}}, {"c", DType::kI8, {1}, {3}}}));
  std::string index =
      R"({"metadata":{"total_size":3,"x":[{"weight_map":1}]},
          "weight_map":{"c":"m-2.safetensors","a":"m-1.safetensors","b":"m-2.safetensors"}})";
  directory.put(std::string(kIndexFile), as_bytes(index));
  Shards many = Shards::open(directory.path()).value();
  Shards moved = std::move(many);
  EXPECT_EQ(moved.file_count(), 2u);
  ASSERT_EQ(moved.tensors().size(), 3u);
  EXPECT_EQ(moved.find("c")->data[0], 3);
  EXPECT_EQ(moved.find("d"), nullptr);
}

TEST(Shards, EveryIndexGivesItsOneLine) {
  TemporaryDirectory directory("index");
  directory.put("m.safetensors", encode({{"a", DType::kI8, {1}, {1}}}));
  directory.put("broken.safetensors", as_bytes("{}"));
  const std::string prefix = "model.safetensors.index.json: ";
  const std::pair<std::string, std::string> cases[] = {
      {"", prefix + "not JSON at byte 1"},
      {"{}", prefix + "weight_map is missing"},
      {"[]", prefix + "weight_map is not an object of texts"},
      {"3", prefix + "weight_map is not an object of texts"},
      {R"({"weight_map":[]})", prefix + "weight_map is not an object of texts"},
      {R"({"weight_map":"m.safetensors"})", prefix + "weight_map is not an object of texts"},
      {R"({"weight_map":{"a":1}})", prefix + "weight_map is not an object of texts"},
      {R"({"weight_map":{"a":{}}})", prefix + "weight_map is not an object of texts"},
      {R"({"weight_map":{},"weight_map":{}})", prefix + "two members 'weight_map'"},
      {R"({"weight_map":{"":"m.safetensors"}})",
       prefix + "a tensor's name has 0 bytes, 1 to 1024 are read"},
      {R"({"weight_map":{"a":"m.safetensors","a":"m.safetensors"}})",
       prefix + "tensor 'a' appears twice"},
      {R"({"weight_map":{"b":"m.safetensors"}})", prefix + "tensor 'b' is not in m.safetensors"},
      {R"({"weight_map":{"a":"n.safetensors"}})", "n.safetensors is missing"},
      {R"({"weight_map":{"a":"broken.safetensors"}})",
       "broken.safetensors: safetensors: ends at byte 2, but 8 bytes were expected at offset 0"},
      {R"({"weight_map":{"a":"../m.safetensors"}})",
       prefix + "tensor 'a' is in '../m.safetensors', which is not a plain file name"},
      {R"({"weight_map":{"a":"/m.safetensors"}})",
       prefix + "tensor 'a' is in '/m.safetensors', which is not a plain file name"},
      {R"({"weight_map":{"a":"x\\m.safetensors"}})",
       prefix + "tensor 'a' is in 'x\\m.safetensors', which is not a plain file name"},
      {R"({"weight_map":{"a":"m.safetensors\u0000"}})",
       prefix + "tensor 'a' is in 'm.safetensors\\x00', which is not a plain file name"},
      {R"({"weight_map":{"a":".safetensors"}})",
       prefix + "tensor 'a' is in '.safetensors', which is not a plain file name"},
      {R"({"weight_map":{"a":"m.bin"}})",
       prefix + "tensor 'a' is in 'm.bin', which is not a plain file name"},
      {R"({"weight_map":{"a":""}})",
       prefix + "tensor 'a' is in '', which is not a plain file name"},
  };
  for (const std::pair<std::string, std::string>& c : cases) {
    directory.put(std::string(kIndexFile), as_bytes(c.first));
    Result<Shards> shards = Shards::open(directory.path());
    EXPECT_EQ(shards.ok() ? "ok" : shards.error().message, c.second) << c.first;
  }
}

}  // namespace
}  // namespace tg::safetensors
