// Whole files: synthetic models of every kind are written, opened and costed; the vocabulary-only
// files and the project's own model are opened where they are present.
#include "model/model.h"

#include <gtest/gtest.h>

#include <cmath>
#include <filesystem>

#include "base/bytes.h"
#include "isa/codec.h"
#include "model/random_blocks.h"
#include "model/synth.h"
#include "model/vocabulary.h"
#include "text/tokenizer.h"
#include "unit/nominal.h"

namespace tg::model {
namespace {

// A file that is gone when the test is.
class TemporaryFile {
 public:
  explicit TemporaryFile(const std::string& name)
      : path_(testing::TempDir() + "tg_model_test_" + name + ".gguf") {}
  ~TemporaryFile() { std::filesystem::remove(path_); }
  const std::string& path() const { return path_; }

 private:
  std::string path_;
};

SynthOptions options_of(const TemporaryFile& file, std::string_view shape,
                        const std::string& codec) {
  return {.path = file.path(), .shape = find_synth_shape(shape).value(), .codec = codec};
}

std::unique_ptr<Model> header_only(std::string_view shape, const std::string& codec) {
  TemporaryFile file("header");
  SynthOptions options = options_of(file, shape, codec);
  options.no_data = true;
  EXPECT_TRUE(synthesize(options).ok());
  return Model::open(file.path(), {}).value();
}

TEST(Model, OpensASynthesizedFile) {
  TemporaryFile file("tiny");
  SynthOptions options = options_of(file, "tiny", "q4_k_m");
  u64 last_done = 0;
  u64 last_total = 0;
  options.progress = [&](u64 done, u64 total) {
    EXPECT_GT(done, last_done);
    last_done = done;
    last_total = total;
  };
  ASSERT_TRUE(synthesize(options).ok());
  EXPECT_EQ(last_done, last_total);
  std::unique_ptr<Model> model = Model::open(file.path(), {}).value();
  EXPECT_TRUE(model->has_data());
  EXPECT_TRUE(model->check_runnable().ok());
  EXPECT_EQ(model->name(), "tiny (synthetic, q4_k_m)");
  EXPECT_EQ(model->architecture(), "llama");
  EXPECT_EQ(model->context_length(), 2'048);
  EXPECT_EQ(model->parameter_count(), 2 * 512 * 256 + 256 + 2 * (589'824 + 512));
  EXPECT_TRUE(model->unused_tensors().empty());
  u64 bytes = 0;
  const std::vector<isa::WeightDecl>& weights = model->program().program().weights;
  ASSERT_EQ(model->weights().by_symbol.size(), weights.size());
  for (std::size_t i = 0; i < weights.size(); ++i) {
    ASSERT_EQ(model->weights().by_symbol[i].size(), std::max(weights[i].layers, 1u));
    i64 rows = weights[i].dims.size() == 2 ? weights[i].dims[0] : 1;
    for (std::span<const u8> span : model->weights().by_symbol[i]) {
      EXPECT_EQ(static_cast<i64>(span.size()),
                rows * isa::row_bytes(weights[i].codec, weights[i].dims.back()));
      bytes += span.size();
    }
  }
  EXPECT_EQ(bytes, last_total);
}

TEST(Model, SynthesisIsDeterministicBySeed) {
  TemporaryFile a("a"), b("b"), c("c");
  ASSERT_TRUE(synthesize(options_of(a, "tiny", "q6_k")).ok());
  ASSERT_TRUE(synthesize(options_of(b, "tiny", "q6_k")).ok());
  SynthOptions other = options_of(c, "tiny", "q6_k");
  other.seed = 2;
  ASSERT_TRUE(synthesize(other).ok());
  u64 limit = 64 << 20;
  EXPECT_EQ(read_file(a.path(), limit).value(), read_file(b.path(), limit).value());
  EXPECT_NE(read_file(a.path(), limit).value(), read_file(c.path(), limit).value());
}

TEST(Model, HeaderOnlyFilesCanBeCostedNotRun) {
  std::unique_ptr<Model> model = header_only("tiny", "f16");
  EXPECT_FALSE(model->has_data());
  EXPECT_TRUE(model->weights().by_symbol.empty());
  EXPECT_EQ(model->check_runnable().error().code, Code::kUnavailable);
  EXPECT_NE(model->check_runnable().error().message.find("can be costed but not run"),
            std::string::npos);
  EXPECT_EQ(model->manifest_with_hashes().error().code, Code::kUnavailable);
  EXPECT_FALSE(model->manifest().empty());
  EXPECT_TRUE(model->check_vocab().ok());
}

TEST(Model, HeaderOnlyFilesGiveTheSameProgram) {
  TemporaryFile file("program");
  ASSERT_TRUE(synthesize(options_of(file, "tiny", "q4_0")).ok());
  EXPECT_EQ(Model::open(file.path(), {}).value()->program().id(),
            header_only("tiny", "q4_0")->program().id());
}

TEST(Model, ManifestNamesTheBytes) {
  TemporaryFile file("manifest");
  ASSERT_TRUE(synthesize(options_of(file, "tiny", "q8_0")).ok());
  std::unique_ptr<Model> model = Model::open(file.path(), {}).value();
  std::vector<ManifestEntry> plain = model->manifest();
  std::vector<ManifestEntry> hashed = model->manifest_with_hashes().value();
  ASSERT_EQ(plain.size(), 3u + 2 * 9);
  EXPECT_NE(manifest_digest(plain), manifest_digest(hashed));
  i64 found = 0;
  for (const ManifestEntry& entry : hashed) {
    if (entry.tensor != "blk.1.attn_k.weight") continue;
    ++found;
    EXPECT_EQ(entry.symbol, "wk");
    EXPECT_EQ(entry.layer, 1);
    EXPECT_EQ(entry.dims, (std::vector<i64>{128, 256}));
    EXPECT_EQ(entry.bytes, 128u * 256 / 32 * 34);
    std::string bytes = read_file(file.path(), 64 << 20).value();
    gguf::File parsed = gguf::File::parse(as_bytes(bytes)).value();
    EXPECT_EQ(*entry.sha256, sha256(parsed.find_tensor(entry.tensor)->data));
  }
  EXPECT_EQ(found, 1);
}

TEST(Model, ErrorsBeginWithThePath) {
  TemporaryFile file("broken");
  ASSERT_TRUE(write_file_durably(file.path(), as_bytes("GGUF"), 0600).ok());
  EXPECT_EQ(Model::open(file.path(), {}).error().message,
            file.path() + ": gguf: ends at byte 4, but 4 bytes were expected at offset 4");
  EXPECT_EQ(Model::open(file.path() + ".none", {}).error().code, Code::kNotFound);
  EXPECT_EQ(find_synth_shape("gpt-5").error().code, Code::kNotFound);
  SynthOptions options = options_of(file, "tiny", "q3_x");
  EXPECT_EQ(synthesize(options).error().message,
            "codec 'q3_x' is not one of f32, f16, bf16, q4_0, q8_0, q4_k, q4_k_m, q6_k, "
            "mxfp4");
}

TEST(Model, ATokenizerIsOptionalButMustFit) {
  gguf::Header header = synth_header(find_synth_shape("tiny").value(), "q8_0", true).value();
  TemporaryFile file("tokenizer");
  header.set("tokenizer.ggml.model", std::string("rwkv"));
  ASSERT_TRUE(gguf::Writer::create(file.path(), header).value().finish().ok());
  std::unique_ptr<Model> model = Model::open(file.path(), {}).value();
  EXPECT_TRUE(model->vocab().tokens.empty());
  EXPECT_EQ(model->check_vocab().error().message,
            file.path() +
                ": gguf: tokenizer 'rwkv' is not supported (known: llama, gpt2, gemma4, bert, "
                "t5)");
  header.set("tokenizer.ggml.model", std::string("gpt2"));
  header.set("tokenizer.ggml.tokens", std::vector<std::string>{"a", "b"});
  header.set("tokenizer.ggml.token_type", std::vector<i32>{1, 1});
  header.set("tokenizer.ggml.bos_token_id", u32{1});
  header.set("tokenizer.ggml.eos_token_id", u32{0});
  ASSERT_TRUE(gguf::Writer::create(file.path(), header).value().finish().ok());
  EXPECT_EQ(Model::open(file.path(), {}).error().message,
            file.path() + ": gguf: the vocabulary has 2 tokens, the model 512");
}

// standard-token.md §3: the checks that follow from shapes alone, all weights and KV in f16.
TEST(Estimate, AgreesWithTheStandardsChecks) {
  struct Check {
    std::string_view shape;
    i64 prompt, cached, output;
    f64 st;
  };
  const Check checks[] = {
      {"llama-3.1-8b", 1'000, 0, 500, 548.6751},
      {"llama-3.1-8b", 1'000, 512, 500, 498.4683},
  };
  for (const Check& check : checks) {
    std::unique_ptr<Model> model = header_only(check.shape, "f16");
    unit::NominalWork work =
        unit::nominal_work(model->program().cost(), {.prompt = check.prompt,
                                                     .cached = check.cached,
                                                     .outputs = std::span(&check.output, 1)})
            .value();
    EXPECT_NEAR(static_cast<f64>(work.total.value) * 1e-9 / check.st, 1, 1e-6) << check.shape;
  }
}

i64 nominal_nst(const Model& model, i64 prompt, i64 output) {
  unit::RequestShape request{.prompt = prompt, .outputs = std::span(&output, 1)};
  return unit::nominal_work(model.program().cost(), request).value().total.value;
}

TEST(Estimate, OneDecodedTokenOfTheReferenceModelIsOneStandardToken) {
  std::unique_ptr<Model> model = header_only("tg-r1", "f16");
  EXPECT_NEAR(static_cast<f64>(nominal_nst(*model, 2'047, 2) - nominal_nst(*model, 2'047, 1)), 1e9,
              1e3);
  EXPECT_NEAR(static_cast<f64>(nominal_nst(*model, 2'048, 1)) / 2'048e9, 0.1008, 5e-5);
}

// The published parameter counts; the 8B count is the one isa.md §5.3 checks.
TEST(Model, ParameterCountsAreThePublishedOnes) {
  EXPECT_EQ(header_only("llama-3.1-8b", "q4_k_m")->parameter_count(), 8'030'261'248);
  EXPECT_EQ(header_only("llama-3.1-70b", "f16")->parameter_count(), 70'553'706'496);
  EXPECT_EQ(header_only("llama-2-7b", "q4_0")->parameter_count(), 6'738'415'616);
  EXPECT_EQ(header_only("qwen3-0.6b", "q8_0")->parameter_count(), 596'049'920);
  EXPECT_EQ(header_only("mistral-7b", "q8_0")->parameter_count(), 7'241'732'096);
  EXPECT_EQ(header_only("llama-1b", "q8_0")->parameter_count(), 1'100'048'384);
}

TEST(Synth, ItsVocabularyIsEveryByte) {
  std::unique_ptr<Model> model = header_only("tiny", "q8_0");
  Tokenizer tokenizer = Tokenizer::create(model->vocab()).value();
  std::string all;
  for (int byte = 1; byte < 128; ++byte) all += static_cast<char>(byte);
  all += "\xC3\xA9\xE2\x82\xAC";
  std::vector<TokenId> ids = tokenizer.encode(all, {}).value();
  EXPECT_EQ(ids.size(), all.size());
  EXPECT_EQ(tokenizer.decode(ids), all);
  EXPECT_EQ(tokenizer.piece(300), "<t300>");
  EXPECT_TRUE(tokenizer.is_end_of_generation(511));
}

TEST(Synth, RandomBlocksHaveMeanZeroAndTheirDeviation) {
  for (isa::DType codec : {isa::DType::kF32, isa::DType::kF16, isa::DType::kBf16, isa::DType::kQ8_0,
                           isa::DType::kQ4_0, isa::DType::kQ4K, isa::DType::kQ6K}) {
    constexpr i64 kElements = 1 << 18;
    std::vector<u8> row(static_cast<std::size_t>(isa::row_bytes(codec, kElements)));
    SeededRandom random(3);
    fill_random(codec, random, row);
    std::vector<f32> values(kElements);
    isa::dequantize_row(codec, row, values);
    f64 sum = 0;
    f64 squares = 0;
    for (f32 value : values) {
      ASSERT_TRUE(std::isfinite(value));
      sum += static_cast<f64>(value);
      squares += static_cast<f64>(value) * static_cast<f64>(value);
    }
    std::string_view name = isa::info(codec).name;
    EXPECT_NEAR(sum / kElements, 0, 0.02 * static_cast<f64>(kRandomDeviation)) << name;
    EXPECT_NEAR(std::sqrt(squares / kElements) / static_cast<f64>(kRandomDeviation), 1, 0.05)
        << name;
  }
}

TEST(Vocabulary, ReadsThePublishedTokenizers) {
  struct Case {
    std::string_view file;
    VocabKind kind;
    std::string_view pre;
    std::size_t tokens, merges;
    TokenId bos, eos;
    bool add_bos, add_space;
  };
  const Case cases[] = {
      {"llama-bpe", VocabKind::kBpe, "llama-bpe", 128'256, 280'147, 128'000, 128'001, true, false},
      {"llama-spm", VocabKind::kSpm, "default", 32'000, 0, 1, 2, true, true},
      {"qwen2", VocabKind::kBpe, "qwen2", 151'936, 151'387, 151'643, 151'643, false, false},
      {"gpt-2", VocabKind::kBpe, "gpt-2", 50'257, 50'000, 50'256, 50'256, false, false},
      {"phi-3", VocabKind::kSpm, "default", 32'064, 0, 1, 32'000, true, true},
      {"deepseek-coder", VocabKind::kBpe, "deepseek-coder", 32'256, 31'757, 32'013, 32'014, true,
       false},
  };
  std::string folder = std::string(TG_SOURCE_DIR) + "/../shared/data/models/vocab/";
  if (!std::filesystem::exists(folder)) GTEST_SKIP() << "no shared data";
  for (const Case& c : cases) {
    MappedFile mapped =
        MappedFile::open(folder + "ggml-vocab-" + std::string(c.file) + ".gguf").value();
    gguf::File file = gguf::File::parse(mapped.bytes()).value();
    Vocab vocab = read_vocab(file).value();
    EXPECT_EQ(vocab.kind, c.kind) << c.file;
    EXPECT_EQ(vocab.pre, c.pre) << c.file;
    EXPECT_EQ(vocab.tokens.size(), c.tokens) << c.file;
    EXPECT_EQ(vocab.types.size(), c.tokens) << c.file;
    EXPECT_EQ(vocab.merges.size(), c.merges) << c.file;
    EXPECT_EQ(vocab.bos, c.bos) << c.file;
    EXPECT_EQ(vocab.eos, c.eos) << c.file;
    EXPECT_EQ(vocab.add_bos, c.add_bos) << c.file;
    EXPECT_EQ(vocab.add_space_prefix, c.add_space) << c.file;
    EXPECT_FALSE(vocab.end_of_generation.empty()) << c.file;
  }
  MappedFile bert = MappedFile::open(folder + "ggml-vocab-bert-bge.gguf").value();
  Vocab vocab = read_vocab(gguf::File::parse(bert.bytes()).value()).value();
  EXPECT_EQ(vocab.kind, VocabKind::kWordPiece);
  EXPECT_EQ(vocab.bos, 101);
  EXPECT_EQ(vocab.eos, 102);
  EXPECT_TRUE(vocab.add_bos && vocab.add_eos);
  EXPECT_EQ(vocab.normalizers, bert_normalizers({}));
}

TEST(Model, OpensTheProjectsOwnModel) {
  std::string path = std::string(TG_SOURCE_DIR) + "/models/tokengrid-tiny.gguf";
  if (!std::filesystem::exists(path)) GTEST_SKIP() << "no " << path;
  std::unique_ptr<Model> model = Model::open(path, {}).value();
  EXPECT_TRUE(model->check_runnable().ok());
  EXPECT_TRUE(model->unused_tensors().empty());
  EXPECT_TRUE(model->check_vocab().ok());
  EXPECT_EQ(model->vocab().pre, "qwen2");
  EXPECT_FALSE(model->vocab().chat_template.empty());
  EXPECT_GT(model->program().cost().head_bytes, 0u);
}

}  // namespace
}  // namespace tg::model
