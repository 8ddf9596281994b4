// From headers to programs: the text that is written, what files may vary, and one line for every
// way in which they can be wrong.
#include "model/import.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <fstream>
#include <sstream>

#include "base/bytes.h"
#include "model/architecture/shape.h"
#include "model/synth.h"

namespace tg::model {
namespace {

// A header's encoded bytes and their file. Not movable: the file borrows the bytes.
struct Parsed {
  explicit Parsed(const gguf::Header& header)
      : bytes(gguf::encode_header(header).value()), file(gguf::File::parse(bytes).value()) {}
  Parsed(const Parsed&) = delete;
  std::vector<u8> bytes;
  gguf::File file;
};

gguf::Header header_of(std::string_view shape, std::string_view codec = "q8_0") {
  return synth_header(find_synth_shape(shape).value(), codec, true).value();
}

std::string text_of(const gguf::Header& header, const ImportOptions& options = {}) {
  Parsed parsed(header);
  DecoderTraits traits =
      find_architecture(parsed.file.text("general.architecture").value().value()).value();
  DecoderShape shape = read_shape(parsed.file, traits).value();
  return draw_llama(parsed.file, traits, shape, options).value().text;
}

std::string import_error(const gguf::Header& header, const ImportOptions& options = {}) {
  Parsed parsed(header);
  Result<Imported> imported = import_program(parsed.file, options);
  return imported.ok() ? "no error" : imported.error().message;
}

TEST(Import, WritesTheProgramOfATinyModel) {
  gguf::Header header = header_of("tiny");
  header.set("llama.rope.dimension_count", u32{4});
  header.set("llama.rope.freq_base", 100.0f);
  EXPECT_EQ(text_of(header), R"(.tgp 1.0 profile=TEXT
.dim T<=8192 S<=256 R<=256 C<=2048
.kv $kv layers=2 heads=4 dk=32 dv=32 fmt=f16 page=16
.w $embd q8_0[512,256]
.w $norm1[2] f32[256]
.w $wq[2] q8_0[256,256]
.w $wk[2] q8_0[128,256]
.w $wv[2] q8_0[128,256]
.w $wo[2] q8_0[256,256]
.w $norm2[2] f32[256]
.w $wg[2] q8_0[512,256]
.w $wu[2] q8_0[512,256]
.w $wd[2] q8_0[256,512]
.w $normf f32[256]
.w $head q8_0[512,256]
.const $invf f32[2] = 0x3f800000 0x3dcccccd
.func main (%ids i32[T], %pos i32[T], %rows i32[R], %bt batch) -> %logits
  %x0 = embed $embd, %ids -> f32[T,256]
  %x1 = repeat l 2 carry %x0 as %x
  %h = rmsnorm %x, $norm1[l] {eps=1e-05} -> f32[T,256]
  %q = linear %h, $wq[l] -> f32[T,256]
  %k = linear %h, $wk[l] -> f32[T,128]
  %v = linear %h, $wv[l] -> f32[T,128]
  %qr = rope %q, %pos, $invf {style=gptj heads=8 rot=4} -> f32[T,256]
  %kr = rope %k, %pos, $invf {style=gptj heads=4 rot=4} -> f32[T,128]
  kv_append $kv[l], %kr, %v, %bt
  %a = attn %qr, $kv[l], %bt {heads=8 mask=causal scale=0.17677669} -> f32[T,256]
  %o = linear %a, $wo[l] -> f32[T,256]
  %r = add %x, %o -> f32[T,256]
  %h2 = rmsnorm %r, $norm2[l] {eps=1e-05} -> f32[T,256]
  %g = linear %h2, $wg[l] -> f32[T,512]
  %u = linear %h2, $wu[l] -> f32[T,512]
  %s = glu %g, %u {act=silu} -> f32[T,512]
  %m = linear %s, $wd[l] -> f32[T,256]
  %y = add %r, %m -> f32[T,256]
  yield %y
  %xr = gather %x1, %rows -> f32[R,256]
  %xn = rmsnorm %xr, $normf {eps=1e-05} -> f32[R,256]
  %logits = linear %xn, $head -> f32[R,512]
.end
)");
}

TEST(Import, EveryPublishedShapeAndCodecVerifies) {
  for (const SynthShape& shape : synth_shapes()) {
    for (std::string_view codec : {"f32", "f16", "bf16", "q8_0", "q4_0", "q4_k", "q6_k", "q4_k_m"})
      EXPECT_EQ(import_error(synth_header(shape, codec, true).value()), "no error")
          << shape.name << " " << codec;
  }
}

TEST(Import, OptionsReachTheProgram) {
  ImportOptions options;
  options.activations_bf16 = true;
  options.kv_format = isa::DType::kBf16;
  options.bounds.context = 4'096;
  Parsed parsed(header_of("tiny"));
  Imported imported = import_program(parsed.file, options).value();
  const isa::Program& program = imported.program.program();
  EXPECT_EQ(program.bounds.context, 4'096);
  EXPECT_EQ(program.kv[0].format, isa::DType::kBf16);
  EXPECT_NE(text_of(header_of("tiny"), options).find("-> bf16[T,256]"), std::string::npos);
  EXPECT_NE(text_of(header_of("tiny"), options).find("-> f32[R,512]"), std::string::npos);
}

TEST(Import, TheVerifierJudgesOptions) {
  ImportOptions options;
  options.kv_format = isa::DType::kI32;
  EXPECT_EQ(import_error(header_of("tiny"), options).substr(0, 37),
            "llama program does not verify: V9: kv");
  options = {};
  options.bounds.tokens = i64{1} << 40;
  EXPECT_EQ(import_error(header_of("tiny"), options).substr(0, 30),
            "llama program does not verify:");
}

TEST(Import, MixedCodecsBecomeRunsOfLayers) {
  Parsed parsed(header_of("llama-1b", "q4_k_m"));
  Imported imported = import_program(parsed.file, {}).value();
  const isa::Program& program = imported.program.program();
  i64 layers = 0;
  for (std::size_t i = 0; i < program.weights.size(); ++i) {
    const isa::WeightDecl& weight = program.weights[i];
    if (weight.name != "wv_q4_k" && weight.name != "wv_q6_k") continue;
    layers += weight.layers;
    for (const gguf::Tensor* tensor : imported.bindings[i].tensors)
      EXPECT_EQ(tensor->codec, weight.codec);
  }
  EXPECT_EQ(layers, 22);
  // Unrolled, layer n's attention reads layer n's tensors.
  isa::FlatProgram flat = imported.program.flatten("main").value();
  i64 seen = 0;
  for (const isa::FlatInstruction& instruction : flat.code) {
    if (instruction.op != isa::Opcode::kLinear) continue;
    const isa::FlatOperand& weight = instruction.in[1];
    std::string_view name = imported.bindings[weight.index].tensors[weight.layer]->name;
    if (!name.ends_with("attn_v.weight")) continue;
    EXPECT_EQ(name, "blk." + std::to_string(seen++) + ".attn_v.weight");
  }
  EXPECT_EQ(seen, 22);
}

TEST(Import, TiedEmbeddingsAreTheHead) {
  gguf::Header header = header_of("tiny");
  header.tensors.pop_back();
  EXPECT_NE(text_of(header).find("%logits = linear %xn, $embd -> f32[R,512]"), std::string::npos);
  Parsed parsed(header);
  Imported imported = import_program(parsed.file, {}).value();
  EXPECT_EQ(imported.program.cost().head_bytes, 512u * 256 / 32 * 34);
}

TEST(Import, OptionalTensorsAreUsed) {
  gguf::Header header = header_of("tiny");
  header.tensors.push_back({"blk.0.attn_q.bias", isa::DType::kF32, {256}});
  header.tensors.push_back({"blk.1.attn_q.bias", isa::DType::kF32, {256}});
  header.tensors.push_back({"blk.1.ffn_down.bias", isa::DType::kF32, {256}});
  header.tensors.push_back({"blk.1.attn_k_norm.weight", isa::DType::kF32, {32}});
  header.tensors.push_back({"output.bias", isa::DType::kF32, {512}});
  header.set("llama.attention.sliding_window", u32{100});
  EXPECT_EQ(import_error(header), "no error");
  std::string text = text_of(header);
  for (std::string_view line : {
           "  %q_0 = linear %h_0, $wq[l], $bq[l] -> f32[T,256]\n",
           "  %q_1 = linear %h_1, $wq[l+1], $bq[l+1] -> f32[T,256]\n",
           "  %m_0 = linear %s_0, $wd[l] -> f32[T,256]\n",
           "  %m_1 = linear %s_1, $wd[l+1], $bd[l] -> f32[T,256]\n",
           "  %kn_1 = rmsnorm %k_1, $knorm[l] {eps=1e-05 group=32} -> f32[T,128]\n",
           "  %x2 = repeat l 1 carry %x1 as %x_1\n",
           "  kv_append $kv[l+1], %kr_1, %v_1, %bt\n",
           "{heads=8 mask=causal scale=0.17677669 window=100}",
           "  %logits = linear %xn, $head, $bhead -> f32[R,512]\n",
       })
    EXPECT_NE(text.find(line), std::string::npos) << line << text;
}

TEST(Import, Qwen3NormalisesHeadsAndPairsHalves) {
  std::string text = text_of(header_of("qwen3-0.6b"));
  EXPECT_NE(text.find("  %qn = rmsnorm %q, $qnorm[l] {eps=1e-06 group=128} -> f32[T,2048]\n"
                      "  %qr = rope %qn, %pos, $invf {style=neox heads=16 rot=128}"),
            std::string::npos);
  EXPECT_NE(text.find("linear %xn, $embd"), std::string::npos);
}

// Applies one edit of testdata/mutations.txt.
void edit(gguf::Header& header, const std::string& line) {
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

TEST(Import, EveryMutationGivesItsOneLine) {
  std::ifstream lines(std::string(TG_SOURCE_DIR) + "/src/model/testdata/mutations.txt");
  i64 cases = 0;
  for (std::string line; std::getline(lines, line);) {
    if (line.empty() || line[0] == '#') continue;
    std::size_t arrow = line.find(" => ");
    ASSERT_NE(arrow, std::string::npos) << line;
    gguf::Header header = header_of("tiny");
    std::string edits = line.substr(0, arrow);
    std::size_t both = edits.find(" & ");
    edit(header, edits.substr(0, both));
    if (both != std::string::npos) edit(header, edits.substr(both + 3));
    EXPECT_EQ(import_error(header), line.substr(arrow + 4)) << edits;
    ++cases;
  }
  EXPECT_GT(cases, 40);
}

TEST(Import, Qwen3NeedsItsNorms) {
  gguf::Header header = header_of("qwen3-0.6b");
  edit(header, "drop-tensor blk.3.attn_q_norm.weight");
  EXPECT_EQ(import_error(header), "gguf: tensor 'blk.3.attn_q_norm.weight' is missing");
}

RopeTable table_of(const gguf::Header& header) {
  Parsed parsed(header);
  return read_shape(parsed.file, find_architecture("llama").value()).value().rope;
}

TEST(Rope, PlainFrequencies) {
  RopeTable table = table_of(header_of("tiny"));
  ASSERT_EQ(table.inverse_frequencies.size(), 16u);
  EXPECT_EQ(table.inverse_frequencies[0], 1.0f);
  EXPECT_EQ(table.inverse_frequencies[8], 0.01f);
  EXPECT_EQ(table.magnitude, 1.0f);
}

TEST(Rope, LinearScalingDividesAll) {
  gguf::Header header = header_of("tiny");
  header.set("llama.rope.scaling.type", std::string("linear"));
  header.set("llama.rope.scaling.factor", 4.0f);
  RopeTable table = table_of(header);
  EXPECT_EQ(table.inverse_frequencies[0], 0.25f);
  EXPECT_EQ(table.inverse_frequencies[8], 0.0025f);
}

// The definition of the Llama 3.1 release: wavelengths below 8192/4 stay, above 8192/1 grow by 8.
TEST(Rope, BandedScalingKeepsShortAndStretchesLong) {
  RopeTable table = table_of(header_of("llama-3.1-8b"));
  ASSERT_EQ(table.inverse_frequencies.size(), 64u);
  for (std::size_t i = 0; i < 64; ++i) {
    f64 plain = std::pow(500'000.0, -static_cast<f64>(i) / 64);
    f64 wavelength = 2 * M_PI / plain;
    f64 ratio = static_cast<f64>(table.inverse_frequencies[i]) / plain;
    if (wavelength < 2'048) {
      EXPECT_NEAR(ratio, 1, 1e-6) << i;
    } else if (wavelength > 8'192) {
      EXPECT_NEAR(ratio, 0.125, 1e-6) << i;
    } else {
      f64 smooth = (8'192 / wavelength - 1) / 3;
      EXPECT_NEAR(ratio, (1 - smooth) / 8 + smooth, 1e-6) << i;
    }
  }
}

TEST(Rope, YarnInterpolatesByPartsAndRaisesTheMagnitude) {
  gguf::Header header = header_of("llama-2-7b");
  header.set("llama.rope.scaling.type", std::string("yarn"));
  header.set("llama.rope.scaling.factor", 16.0f);
  header.set("llama.rope.scaling.original_context_length", u32{4'096});
  RopeTable table = table_of(header);
  EXPECT_NEAR(table.magnitude, 0.1 * std::log(16.0) + 1, 1e-6);
  // Pairs that turn more than 32 times in 4096 positions (the first 20) stay; those that turn less
  // than once (from pair 46 on) are interpolated.
  for (std::size_t i = 0; i < 64; ++i) {
    f64 plain = std::pow(10'000.0, -static_cast<f64>(i) / 64);
    f64 ratio = static_cast<f64>(table.inverse_frequencies[i]) / plain;
    f64 stretched = std::clamp((static_cast<f64>(i) - 20) / 26, 0.0, 1.0);
    EXPECT_NEAR(ratio, 1 - stretched * 15 / 16, 1e-6) << i;
  }
  std::string text = text_of(header);
  EXPECT_NE(text.find("rot=128 mscale=1.2772589}"), std::string::npos) << text;
  header.set("llama.rope.scaling.yarn_log_multiplier", 1.0f);
  EXPECT_EQ(table_of(header).magnitude, 1.0f);
}

TEST(Rope, DivisorTensorsEqualTheStatedScaling) {
  SynthShape shape = find_synth_shape("tiny").value();
  shape.rope_base = 500'000;
  shape.has_banded_rope = true;
  Parsed stated(synth_header(shape, "q8_0", true).value());
  gguf::Header header = synth_header(shape, "q8_0", false).value();
  ASSERT_EQ(header.tensors.back().name, "rope_freqs.weight");
  std::vector<u8> bytes = gguf::encode_header(header).value();
  for (const gguf::TensorDecl& tensor : header.tensors) {
    if (tensor.name == "rope_freqs.weight") {
      for (f32 divisor : banded_divisors({}, 500'000, 32))
        append_u32(bytes, std::bit_cast<u32>(divisor));
    } else {
      bytes.resize((bytes.size() + gguf::tensor_bytes(tensor).value() + 31) / 32 * 32);
    }
  }
  gguf::File file = gguf::File::parse(bytes).value();
  EXPECT_EQ(import_program(file, {}).value().program.id(),
            import_program(stated.file, {}).value().program.id());
  // A divisor of zero is refused.
  std::fill(bytes.end() - 64, bytes.end(), u8{0});
  EXPECT_EQ(import_program(gguf::File::parse(bytes).value(), {}).error().message,
            "gguf: tensor rope_freqs.weight holds 0 at 0");
}

TEST(Rope, DivisorTensorWithoutDataIsRefused) {
  gguf::Header header = header_of("tiny");
  header.tensors.push_back({"rope_freqs.weight", isa::DType::kF32, {16}});
  EXPECT_EQ(import_error(header),
            "gguf: tensor rope_freqs.weight is needed for the program, but the file holds no data");
  header.tensors.back().dims = {15};
  EXPECT_EQ(import_error(header), "gguf: tensor rope_freqs.weight is f32[15], expected f32[16]");
}

}  // namespace
}  // namespace tg::model
