// Plans as launches: every launch's arguments against the kernel's own signature, and packed
// weights against the codecs.
#include <gtest/gtest.h>

#include <fstream>
#include <map>
#include <regex>
#include <sstream>

#include "backend/cuda/kernels/codes.h"
#include "backend/gpu/lower.h"
#include "backend/gpu/packed.h"
#include "backend/gpu/sources.h"
#include "backend/tiny_llama.h"

namespace tg::backend::gpu {
namespace {

// "int", "ulong", "float" or "place" for each argument a kernel takes, by its name.
std::map<std::string, std::vector<std::string>> signatures() {
  std::map<std::string, std::vector<std::string>> out;
  std::string text;
  for (Unit unit : {Unit::kPlain, Unit::kExact, Unit::kLinear, Unit::kCache}) {
    text += source_of(unit);
  }
  // Products, and forms of attention, share theirs by a macro.
  for (std::string macro : {"PRODUCT_PARAMETERS", "ATTENTION_PARAMETERS"}) {
    std::smatch shared;
    std::regex definition("#define " + macro + R"(((?:.*\\\n)*.*))");
    EXPECT_TRUE(std::regex_search(text, shared, definition));
    std::string parameters = std::regex_replace(shared[1].str(), std::regex(R"(\\\n)"), "");
    text = std::regex_replace(text, std::regex("\\(" + macro + "\\)"), "(" + parameters + ")");
  }
  std::regex kernel(R"(KERNEL\((tg_\w+)\)\(([^{]*)\) \{)");
  for (std::sregex_iterator it(text.begin(), text.end(), kernel), end; it != end; ++it) {
    std::vector<std::string>& kinds = out[(*it)[1]];
    kinds.clear();
    std::stringstream list((*it)[2]);
    for (std::string parameter; std::getline(list, parameter, ',');) {
      std::size_t first = parameter.find_first_not_of(" \n");
      std::string word = parameter.substr(first, parameter.find_first_of(" (", first) - first);
      if (word == "GLOBAL") word = "step";
      if (word == "IN" || word == "OUT") word = "place";
      if (word == "FORM") {
        kinds.insert(kinds.end(), 4, "int");
      } else {
        kinds.push_back(word);
      }
    }
  }
  out["tg_attention_tile"] = out["tg_attention"];
  return out;
}

std::string kind_of(const Arg& arg) {
  if (arg.kind == ArgKind::kStep) return "step";
  if (arg.is_place()) return "place";
  if (arg.kind == ArgKind::kLong) return "ulong";
  return arg.kind == ArgKind::kFloat ? "float" : "int";
}

void expect_signatures(const std::string& text) {
  static const std::map<std::string, std::vector<std::string>> wanted = signatures();
  Result<isa::Program> program = isa::assemble(text);
  ASSERT_TRUE(program.ok()) << program.error().message;
  Result<isa::VerifiedProgram> verified = isa::verify(std::move(program).value());
  ASSERT_TRUE(verified.ok()) << verified.error().message;
  Result<Lowered> lowered =
      lower(verified->bytes(), "main",
            {.tokens = 64, .sequences = 8, .rows = 8, .context = 4'096, .threads = 1},
            {.int_dot = true, .attention_tiles = true});
  ASSERT_TRUE(lowered.ok()) << lowered.error().message;
  EXPECT_EQ(lowered->first.size(), lowered->plan.flat.code.size() + 1);
  for (const Launch& launch : lowered->launches) {
    std::vector<std::string> kinds;
    for (const Arg& arg : launch.args) kinds.push_back(kind_of(arg));
    EXPECT_EQ(kinds, wanted.at(name(launch.kernel))) << name(launch.kernel);
  }
}

TEST(GpuLowering, arguments_are_those_of_the_kernels) {
  expect_signatures(tiny_llama_text({}));
  expect_signatures(R"(.tgp 1.0 profile=TEXT,MOE,VISION
.dim T<=64 S<=8 R<=8 C<=4096
.w $e f32[32,64]
.w $n f32[64]
.w $r f32[8,64]
.w $x q8_0[8,64,64]
.w $bt q8_0[2,32,64]
.const $k f32[4] = 1 2 3 4
.func main (%ids i32[T], %pos i32[T], %rows i32[R], %bt batch, %params params) -> %t, %lp
  %a = embed $e, %ids -> f32[T,64]
  %b = layernorm %a, $n, $n -> f32[T,64]
  %c = mul %b, $n -> f32[T,64]
  %l = linear %c, $r {xq=i8/32} -> f32[T,8]
  %w, %p = route %l {k=2} -> f32[T,2], perm[T,2,8]
  %g = grouped_linear %c, $x, %p {xq=i8/tok acc=i32} -> f32[2*T,64]
  %m = combine %g, %p, %w -> f32[T,64]
  %vv = view %m -> f32[T,32,2]
  %v = permute %vv {axes=(0,2,1)} -> f32[T,2,32]
  %z = bmm %v, $bt {trans=1} -> f32[T,2,64]
  %zz = view %z {offset=32} -> f32[T,2,32]
  %y = bmm %zz, %v -> f32[T,2,2]
  %s = reduce %y {kind=softmax} -> f32[T,2,2]
  %f = view %s -> f32[T,4]
  %i = concat %f, %f -> f32[T,8]
  %j = act %i {act=tanh} -> f32[T,8]
  %h = glu %j -> f32[T,4]
  %o = ew %h, %f {code=(x0 x1 mul)} -> f32[T,4]
  %q = cast %o -> bf16[T,4]
  %qq = cast %q -> f32[T,4]
  %u = add %qq, $k -> f32[T,4]
  %d = gather %u, %rows -> f32[R,4]
  %lf = logits %d, %params -> f32[R,4]
  %t, %lp = sample %lf, %params -> i32[R], f32[R]
.end
)");
}

// ---- weights

std::vector<f32> numbers(i64 count) {
  SeededRandom random(5);
  std::vector<f32> out;
  for (i64 i = 0; i < count; ++i) {
    out.push_back(static_cast<f32>(static_cast<i64>(random.below(2'001)) - 1'000) / 700.0f);
  }
  return out;
}

template <int kCodec>
void expect_run_codes() {
  constexpr i64 kColumns = 512, kRows = 3;
  isa::DType codec = static_cast<isa::DType>(kCodec);
  std::vector<f32> in = numbers(kColumns * kRows);
  std::vector<u8> canonical(static_cast<std::size_t>(kRows * isa::row_bytes(codec, kColumns)));
  for (i64 r = 0; r < kRows; ++r) {
    isa::quantize_row(
        codec, std::span(in).subspan(static_cast<std::size_t>(r * kColumns), kColumns),
        std::span(canonical).subspan(static_cast<std::size_t>(r * isa::row_bytes(codec, kColumns)),
                                     static_cast<std::size_t>(isa::row_bytes(codec, kColumns))));
  }
  tg_wdesc weight{.size = sizeof(tg_wdesc),
                  .dtype = static_cast<u8>(codec),
                  .rank = 2,
                  .uses = TG_USE_MATRIX,
                  .dims = {kRows, kColumns},
                  .ref_bytes = canonical.data(),
                  .ref_size = canonical.size()};
  Result<Packed> packed = packed_form(weight);
  ASSERT_TRUE(packed.ok());
  std::vector<u8> bytes(static_cast<std::size_t>(packed->bytes()));
  ASSERT_TRUE(pack_weight(weight, *packed, bytes.data()).ok());
  for (i64 r = 0; r < kRows; ++r) {
    std::vector<f32> want(kColumns);
    isa::dequantize_row(
        codec,
        std::span(canonical).subspan(static_cast<std::size_t>(r * isa::row_bytes(codec, kColumns)),
                                     static_cast<std::size_t>(isa::row_bytes(codec, kColumns))),
        want);
    for (int run = 0; run < kColumns / 32; ++run) {
      unsigned short codes[32];
      tg_cuda::RunScales scales =
          tg_cuda::read_run<kCodec>(bytes.data() + r * packed->row_bytes, run, codes);
      for (int i = 0; i < 32; ++i) {
        f32 code = tg_cuda::bits_to_float(static_cast<unsigned>(codes[i]) << 16);
        f32 got = scales.scale[i / 16] * code - scales.least;
        ASSERT_EQ(got, want[static_cast<std::size_t>(run * 32 + i)])
            << "codec " << kCodec << " row " << r << " column " << run * 32 + i;
      }
    }
  }
}

TEST(GpuWeights, runs_for_tensor_cores_are_the_codecs_numbers) {
  expect_run_codes<tg_cuda::kBf16>();
  expect_run_codes<tg_cuda::kQ4_0>();
  expect_run_codes<tg_cuda::kQ8_0>();
  expect_run_codes<tg_cuda::kQ4K>();
  expect_run_codes<tg_cuda::kQ6K>();
  expect_run_codes<tg_cuda::kInt4G128>();
  expect_run_codes<tg_cuda::kFp8B128>();
}

TEST(GpuWeights, parts_add_up) {
  for (f32 x : numbers(2'000)) {
    for (f32 scaled : {x, x * 1e-9f, x * 3e20f}) {
      unsigned short parts[3];
      tg_cuda::split(scaled, 3, parts);
      f64 sum = 0;
      for (unsigned short part : parts) {
        sum += tg_cuda::bits_to_float(static_cast<unsigned>(part) << 16);
      }
      ASSERT_EQ(static_cast<f32>(sum), scaled);
    }
  }
}

TEST(GpuWeights, sizes_that_do_not_fit_are_refused) {
  std::vector<u8> bytes(100);
  tg_wdesc weight{.size = sizeof(tg_wdesc),
                  .symbol = 7,
                  .dtype = static_cast<u8>(isa::DType::kQ8_0),
                  .rank = 2,
                  .uses = TG_USE_MATRIX,
                  .dims = {3, 32},
                  .ref_bytes = bytes.data(),
                  .ref_size = bytes.size()};
  Result<Packed> packed = packed_form(weight);
  ASSERT_TRUE(packed.ok());
  std::vector<u8> to(static_cast<std::size_t>(packed->bytes()));
  Status made = pack_weight(weight, *packed, to.data());
  ASSERT_FALSE(made.ok());
  EXPECT_NE(made.error().message.find("weight 7 has 100 bytes"), std::string::npos);
}

}  // namespace
}  // namespace tg::backend::gpu
