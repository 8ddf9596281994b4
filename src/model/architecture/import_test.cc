// From headers to programs: the text that is written, what files may vary, and one line for every
// way in which they can be wrong.
#include "model/import.h"

#include <gtest/gtest.h>

#include <fstream>

#include "model/architecture/import_testing.h"

namespace tg::model {
namespace {

TEST(Import, WritesTheProgramOfATinyModel) {
  gguf::Header header = header_of("tiny");
  header.set("llama.rope.dimension_count", u32{4});
  header.set("llama.rope.freq_base", 100.0f);
  std::string text = text_of(header);
  EXPECT_EQ(text, R"(.tgp least profile=TEXT
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
  %q = linear %h, $wq[l] {xq=i8/32} -> f32[T,256]
  %k = linear %h, $wk[l] {xq=i8/32} -> f32[T,128]
  %v = linear %h, $wv[l] {xq=i8/32} -> f32[T,128]
  %qr = rope %q, %pos, $invf {style=gptj heads=8 rot=4} -> f32[T,256]
  %kr = rope %k, %pos, $invf {style=gptj heads=4 rot=4} -> f32[T,128]
  kv_append $kv[l], %kr, %v, %bt
  %a = attn %qr, $kv[l], %bt {heads=8 mask=causal scale=0.17677669} -> f32[T,256]
  %o = linear %a, $wo[l] {xq=i8/32} -> f32[T,256]
  %r = add %x, %o -> f32[T,256]
  %h2 = rmsnorm %r, $norm2[l] {eps=1e-05} -> f32[T,256]
  %g = linear %h2, $wg[l] {xq=i8/32} -> f32[T,512]
  %u = linear %h2, $wu[l] {xq=i8/32} -> f32[T,512]
  %s = glu %g, %u {act=silu} -> f32[T,512]
  %m = linear %s, $wd[l] {xq=i8/32} -> f32[T,256]
  %y = add %r, %m -> f32[T,256]
  yield %y
  %xr = gather %x1, %rows -> f32[R,256]
  %xn = rmsnorm %xr, $normf {eps=1e-05} -> f32[R,256]
  %logits = linear %xn, $head {xq=i8/32} -> f32[R,512]
.end
)");
  // Exact: the same without rounding.
  const std::string rounding = " {xq=i8/32}";
  for (std::size_t at = text.find(rounding); at != std::string::npos; at = text.find(rounding))
    text.erase(at, rounding.size());
  EXPECT_EQ(text_of(header, {.exact = true}), text);
  // Weights of floats round nothing.
  EXPECT_EQ(text_of(header_of("tiny", "f16")).find("xq"), std::string::npos);
}

TEST(Import, EveryPublishedShapeAndCodecVerifies) {
  for (SynthShape shape : synth_shapes()) {
    if (shape.longrope_original > 0) continue;  // needs data
    shape.vocabulary = 512;                     // long ones only take time
    for (std::string_view codec :
         {"f32", "f16", "bf16", "q8_0", "q4_0", "q4_k", "q6_k", "q4_k_m", "mxfp4"})
      EXPECT_EQ(import_error(synth_header(shape, codec, true).value()), "no error")
          << shape.name << " " << codec;
  }
}

TEST(Import, EveryShapeVerifiesWithBf16Activations) {
  for (SynthShape shape : synth_shapes()) {
    if (shape.longrope_original > 0) continue;  // needs data
    shape.vocabulary = 512;                     // long ones only take time
    EXPECT_EQ(import_error(synth_header(shape, "q8_0", true).value(), {.activations_bf16 = true}),
              "no error")
        << shape.name;
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
  EXPECT_NE(text_of(header, {.exact = true}).find("%logits = linear %xn, $embd -> f32[R,512]"),
            std::string::npos);
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
  std::string text = text_of(header, {.exact = true});
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

TEST(Import, EveryMutationGivesItsOneLine) {
  std::ifstream lines(std::string(TG_SOURCE_DIR) + "/src/model/testdata/mutations.txt");
  i64 cases = 0;
  for (std::string line; std::getline(lines, line);) {
    if (line.empty() || line[0] == '#') continue;
    std::size_t arrow = line.find(" => ");
    ASSERT_NE(arrow, std::string::npos) << line;
    std::string edits = line.substr(0, arrow);
    // A line may begin with "@shape "; otherwise the shape is tiny.
    std::string shape = "tiny";
    if (edits[0] == '@') {
      shape = edits.substr(1, edits.find(' ') - 1);
      edits.erase(0, edits.find(' ') + 1);
    }
    gguf::Header header = header_of(shape);
    std::size_t both = edits.find(" & ");
    edit(header, edits.substr(0, both));
    if (both != std::string::npos) edit(header, edits.substr(both + 3));
    EXPECT_EQ(import_error(header), line.substr(arrow + 4)) << edits;
    ++cases;
  }
  EXPECT_GT(cases, 80);
}

TEST(Import, Qwen3NeedsItsNorms) {
  gguf::Header header = header_of("qwen3-0.6b");
  edit(header, "drop-tensor blk.3.attn_q_norm.weight");
  EXPECT_EQ(import_error(header), "gguf: tensor 'blk.3.attn_q_norm.weight' is missing");
}

TEST(Import, MixedCodecsKeepTheCycleOfWindows) {
  // Runs begin at layers 0, 1, 2, ...: each run's windows are those of its layers.
  Parsed parsed(header_of("gemma-3-4b", "q4_k_m"));
  isa::FlatProgram flat = import_program(parsed.file, {}).value().program.flatten("main").value();
  i64 layer = 0;
  for (const isa::FlatInstruction& instruction : flat.code) {
    if (instruction.op != isa::Opcode::kAttn) continue;
    u32 window = (layer + 1) % 6 == 0 ? 0 : 1'024;
    EXPECT_EQ(instruction.word(isa::AttributeKey::kWindow), window) << layer;
    EXPECT_EQ(instruction.in[1].layer, static_cast<u32>(layer++));
  }
  EXPECT_EQ(layer, 34);
}

TEST(Import, UniformStacksAreOneLoop) {
  for (std::string_view shape : {"llama-3.1-8b", "mixtral-8x7b", "gemma-3-12b", "gpt-oss-120b"}) {
    std::string text = text_of(header_of(shape));
    std::size_t first = text.find(" = repeat ");
    EXPECT_NE(first, std::string::npos) << shape;
    EXPECT_EQ(text.find(" = repeat ", first + 1), std::string::npos) << shape;
  }
}

TEST(Import, DenseLayersBeforeExpertsAreALoopOfTheirOwn) {
  std::string text = text_of(header_of("deepseek-v3"));
  EXPECT_NE(text.find("%x1 = repeat l 3 carry"), std::string::npos);
  EXPECT_NE(text.find("%x2 = repeat l 58 carry"), std::string::npos);
  EXPECT_NE(text.find("kv_append $kv[l+3], %lat_1, %bt"), std::string::npos);
}

TEST(Import, ARopeStyleInTheFileWins) {
  gguf::Header header = header_of("tiny");
  EXPECT_NE(text_of(header).find("style=gptj"), std::string::npos);
  header.set("tokengrid.rope_style", std::string("neox"));
  EXPECT_EQ(text_of(header).find("style=gptj"), std::string::npos);
}

// An encoder's layers may differ in codec like a decoder's.
TEST(Import, EncodersHaveRunsToo) {
  gguf::Header header = header_of("tiny-bert");
  edit(header, "codec blk.1.ffn_up.weight f16");
  std::string text = text_of(header);
  EXPECT_NE(text.find("  %u_1 = linear %h_1, $wu_f16[l], $bu[l+1] -> f32[T,96]\n"),
            std::string::npos)
      << text;
}

}  // namespace
}  // namespace tg::model
