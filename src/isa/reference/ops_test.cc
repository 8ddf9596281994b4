// Each op by itself: a program whose input is an f32 table read by `embed`, one op, and the result
// compared with the formula written out again.
#include <cmath>

#include "isa/reference/test_model.h"

namespace tg::isa {
namespace {

using Matrix = std::vector<std::vector<f64>>;

const Matrix kX = {{1, -2, 0.5, 3}, {0, 0, 0, 0}, {-1.5, 2.25, 8, -0.125}};

// Runs `body` on %x f32[T,4] = kX (also a second time as %z) and returns %y. `declarations` may add
// weights, all of whose elements are 1, 2, 3, ... in order.
std::vector<f64> run_body(const std::string& declarations, const std::string& body,
                          Precision precision = Precision::kGolden) {
  std::string text = ".tgp least profile=TEXT\n.dim T<=8 S<=2 R<=4 C<=16\n.w $table f32[3,4]\n" +
                     declarations +
                     "\n.func main (%ids i32[T], %pos i32[T], %rows i32[R], %bt batch) -> %y\n"
                     "%x = embed $table, %ids -> f32[T,4]\n" +
                     body + "\n.end\n";
  TestModel model(text);
  for (std::size_t w = 0; w < model.weights.by_symbol.size(); ++w) {
    const WeightDecl& decl = model.program->program().weights[w];
    std::vector<f32> values;
    for (const std::vector<f64>& row : kX) values.insert(values.end(), row.begin(), row.end());
    if (w > 0) {
      values.resize(model.storage[w].size() / 4);
      std::iota(values.begin(), values.end(), 1.0f);
    }
    EXPECT_EQ(decl.codec, DType::kF32);
    quantize_row(DType::kF32, values, model.storage[w]);
  }
  Interpreter interpreter = model.interpreter(precision, 8);
  TestSequence sequence{{3, 5}, 0};
  TestBatch batch;
  batch.add(sequence, std::vector<i32>{0, 1, 2}, 4, true);
  Result<std::vector<Tensor>> out = interpreter.run(batch.view());
  EXPECT_TRUE(out.ok()) << out.error().message;
  return out.ok() ? (*out)[0].data : std::vector<f64>{};
}

void expect_near(const std::vector<f64>& got, const std::vector<f64>& expected, f64 tolerance) {
  ASSERT_EQ(got.size(), expected.size());
  for (std::size_t i = 0; i < got.size(); ++i)
    EXPECT_NEAR(got[i], expected[i], tolerance) << "element " << i;
}

// f applied to every element of kX, in order.
template <typename Function>
std::vector<f64> each(Function f) {
  std::vector<f64> out;
  for (const std::vector<f64>& row : kX) {
    for (f64 v : row) out.push_back(f(v));
  }
  return out;
}

f64 logistic(f64 x) {
  return 1 / (1 + std::exp(-x));
}

TEST(Ops, Activations) {
  struct Case {
    const char* attributes;
    f64 (*f)(f64);
  };
  const Case cases[] = {
      {"", [](f64 x) { return x * logistic(x); }},
      {"{act=gelu_tanh}",
       [](f64 x) {
         return 0.5 * x *
                (1 + std::tanh(std::sqrt(2 / 3.14159265358979323846) * (x + 0.044715 * x * x * x)));
       }},
      {"{act=gelu_erf}", [](f64 x) { return 0.5 * x * (1 + std::erf(x / std::sqrt(2.0))); }},
      {"{act=relu}", [](f64 x) { return std::max(x, 0.0); }},
      {"{act=relu2}", [](f64 x) { return std::max(x, 0.0) * std::max(x, 0.0); }},
      {"{act=sigmoid}", logistic},
      {"{act=tanh}", [](f64 x) { return std::tanh(x); }},
      {"{act=softplus}", [](f64 x) { return std::log(1 + std::exp(x)); }},
      {"{act=softcap softcap=2}", [](f64 x) { return 2 * std::tanh(x / 2); }},
  };
  for (const Case& c : cases) {
    std::string body = "%y = act %x " + std::string(c.attributes) + " -> f32[T,4]";
    expect_near(run_body("", body), each(c.f), 1e-12);
    expect_near(run_body("", body, Precision::kSameType), each(c.f), 1e-5);
  }
}

TEST(Ops, Glu) {
  expect_near(run_body("", "%y = glu %x, %x -> f32[T,4]"),
              each([](f64 x) { return x * x * logistic(x); }), 1e-12);
  std::vector<f64> packed = run_body("", "%y = glu %x {act=relu} -> f32[T,2]");
  expect_near(packed, {0.5, 0, 0, 0, 0, 2.25 * -0.125}, 1e-12);
  // gate min 7, up within 7, up + 1.
  std::vector<f64> oai = run_body("", "%y = glu %x {act=swiglu_oai alpha=2} -> f32[T,2]");
  EXPECT_NEAR(oai[0], 1 * logistic(2) * 1.5, 1e-12);
  EXPECT_NEAR(oai[4], -1.5 * logistic(-3) * 8, 1e-12);
}

TEST(Ops, AddAndMul) {
  expect_near(run_body("", "%y = add %x, %x {alpha=3 beta=-0.5} -> f32[T,4]"),
              each([](f64 x) { return 2.5 * x; }), 1e-12);
  expect_near(run_body("", "%y = mul %x {alpha=0.25} -> f32[T,4]"),
              each([](f64 x) { return 0.25 * x; }), 1e-12);
  std::vector<f64> row = run_body(".w $b f32[4]", "%y = add %x, $b -> f32[T,4]");
  EXPECT_EQ(row[0], 2);
  EXPECT_EQ(row[7], 4);
  row = run_body(".w $b f32[4]", "%y = mul %x, $b {alpha=2} -> f32[T,4]");
  EXPECT_EQ(row[1], -2 * 2 * 2);
}

TEST(Ops, LinearAndItsActivationFormats) {
  // w[n][k] = 4n + k + 1.
  auto expected = [](const Matrix& x) {
    std::vector<f64> out;
    for (const std::vector<f64>& row : x) {
      for (int n = 0; n < 2; ++n) {
        f64 sum = n + 1;  // bias
        for (int k = 0; k < 4; ++k) sum += row[static_cast<std::size_t>(k)] * (4 * n + k + 1);
        out.push_back(sum);
      }
    }
    return out;
  };
  std::string weights = ".w $w f32[2,4]\n.w $b f32[2]";
  expect_near(run_body(weights, "%y = linear %x, $w, $b -> f32[T,2]"), expected(kX), 1e-12);
  Matrix rounded = kX;
  for (std::vector<f64>& row : rounded) {
    f64 largest = 0;
    for (f64 v : row) largest = std::max(largest, std::fabs(v));
    f64 scale = static_cast<f32>(largest) / 127.0f;
    for (f64& v : row) v = largest == 0 ? 0 : std::nearbyint(v / scale) * scale;
  }
  expect_near(run_body(weights, "%y = linear %x, $w, $b {xq=i8/tok} -> f32[T,2]"),
              expected(rounded), 1e-12);
}

TEST(Ops, RowsRoundedToBf16) {
  // 1 + 2^-8 is a tie and goes to the even 1; beyond it, to 1 + 2^-7.
  std::string program =
      "%t = mul %x {alpha=1.00390625} -> f32[T,4]\n%y = linear %t, $w {xq=bf16} -> f32[T,1]";
  f64 expected = 0;
  for (int k = 0; k < 4; ++k) {
    f32 scaled = static_cast<f32>(kX[0][static_cast<std::size_t>(k)]) * 1.00390625f;
    expected += f64{round_to(DType::kBf16, scaled)} * (k + 1);
  }
  EXPECT_NEAR(run_body(".w $w f32[1,4]", program)[0], expected, 1e-12);
}

TEST(Ops, MicroscalingRounding) {
  // Largest 3: scale 2^(1-2); codes of 1, -2, 0.5, 3 are 2, -4, 1, 6, all exact. 8: scale 2.
  std::string program =
      "%w = concat %x, %x, %x, %x, %x, %x, %x, %x -> f32[T,32]\n"
      "%y = linear %w, $w {xq=mxfp4} -> f32[T,1]";
  std::vector<f64> got = run_body(".w $w f32[1,32]", program);
  f64 expected = 0;
  const f64 last[] = {-2, 2, 8, 0};  // -1.5 = 2 * -0.75 -> -1 (even), 2.25 = 2 * 1.125 -> 1
  for (int k = 0; k < 32; ++k) expected += last[k % 4] * (k + 1);
  EXPECT_NEAR(got[2], expected, 1e-9);
}

TEST(Ops, Norms) {
  std::vector<f64> rms =
      run_body(".w $w f32[4]", "%y = rmsnorm %x, $w {eps=0.5 woff=1} -> f32[T,4]");
  f64 scale = 1 / std::sqrt((1 + 4 + 0.25 + 9) / 4 + 0.5);
  EXPECT_NEAR(rms[0], 1 * scale * 2, 1e-12);
  EXPECT_NEAR(rms[3], 3 * scale * 5, 1e-12);
  EXPECT_EQ(rms[4], 0);
  std::vector<f64> grouped =
      run_body(".w $w f32[2]", "%y = rmsnorm %x, $w {eps=0.5 group=2} -> f32[T,4]");
  EXPECT_NEAR(grouped[3], 3 / std::sqrt((0.25 + 9) / 2 + 0.5) * 2, 1e-12);
  std::vector<f64> layer =
      run_body(".w $w f32[4]\n.w $b f32[4]", "%y = layernorm %x, $w, $b {eps=0.5} -> f32[T,4]");
  f64 mean = 2.5 / 4;
  f64 variance = 0;
  for (f64 v : kX[0]) variance += (v - mean) * (v - mean) / 4;
  EXPECT_NEAR(layer[1], (-2 - mean) / std::sqrt(variance + 0.5) * 2 + 2, 1e-12);
  EXPECT_NEAR(layer[5], 2, 1e-12);
}

TEST(Ops, Reductions) {
  expect_near(run_body("", "%y = reduce %x {kind=sum} -> f32[T]"), {2.5, 0, 8.625}, 1e-12);
  expect_near(run_body("", "%y = reduce %x {kind=mean} -> f32[T]"), {0.625, 0, 2.15625}, 1e-12);
  expect_near(run_body("", "%y = reduce %x {kind=max} -> f32[T]"), {3, 0, 8}, 0);
  expect_near(run_body("", "%y = reduce %x {kind=argmax} -> i32[T]"), {3, 0, 2}, 0);
  std::vector<f64> soft = run_body("", "%y = reduce %x {kind=softmax} -> f32[T,4]");
  EXPECT_NEAR(soft[4], 0.25, 1e-12);
  f64 sum = std::exp(1) + std::exp(-2) + std::exp(0.5) + std::exp(3);
  EXPECT_NEAR(soft[3], std::exp(3) / sum, 1e-12);
}

TEST(Ops, Ew) {
  expect_near(run_body("", "%y = ew %x {code=(x0 dup mul 1 add sqrt x0 swap div)} -> f32[T,4]"),
              each([](f64 x) { return x / std::sqrt(x * x + 1); }), 1e-12);
  expect_near(run_body("", "%y = ew %x {code=(x0 2 min -1 max neg abs expm1)} -> f32[T,4]"),
              each([](f64 x) { return std::expm1(std::fabs(std::clamp(x, -1.0, 2.0))); }), 1e-12);
  expect_near(
      run_body("", "%y = ew %x {code=(x0 tanh x0 erf sub x0 sigmoid exp log add)} -> f32[T,4]"),
      each([](f64 x) { return std::tanh(x) - std::erf(x) + logistic(x); }), 1e-12);
}

TEST(Ops, MovesAreExact) {
  std::vector<f64> joined = run_body("",
                                     "%c = concat %x, %x -> f32[T,8]\n"
                                     "%s = view %c {offset=3} -> f32[T,2]\n"
                                     "%v = view %s -> f32[T,1,2]\n"
                                     "%y = gather %v, %rows -> f32[R,1,2]");
  expect_near(joined, {-0.125, -1.5}, 0);
  std::vector<f64> halves = run_body("", "%h = cast %x -> bf16[T,4]\n%y = cast %h -> f32[T,4]");
  expect_near(halves, each([](f64 x) { return f32_from_bf16(bf16_from_f32(static_cast<f32>(x))); }),
              0);
}

TEST(Ops, Bmm) {
  // Per token, [2,2] times [2,2] transposed.
  std::vector<f64> y = run_body("", "%m = view %x -> f32[T,2,2]\n%y = bmm %m, %m -> f32[T,2,2]");
  expect_near({y.begin(), y.begin() + 4}, {5, 0.5 - 6, 0.5 - 6, 9.25}, 1e-12);
}

TEST(Ops, RopeRotatesPairs) {
  std::string table = ".const $f f32[2] = 1 0.5\n";
  std::vector<f64> neox = run_body(table, "%y = rope %x, %pos, $f {heads=1 rot=4} -> f32[T,4]");
  std::vector<f64> gptj =
      run_body(table, "%y = rope %x, %pos, $f {heads=1 rot=4 style=gptj mscale=2} -> f32[T,4]");
  expect_near({neox.begin(), neox.begin() + 4}, kX[0], 0);  // position 0
  auto f = [](f64 v) { return static_cast<f64>(static_cast<f32>(v)); };
  f64 c0 = f(std::cos(2.0)), s0 = f(std::sin(2.0)), c1 = f(std::cos(1.0)), s1 = f(std::sin(1.0));
  const std::vector<f64>& x = kX[2];  // position 2
  EXPECT_NEAR(neox[8], x[0] * c0 - x[2] * s0, 1e-12);
  EXPECT_NEAR(neox[10], x[2] * c0 + x[0] * s0, 1e-12);
  EXPECT_NEAR(neox[9], x[1] * c1 - x[3] * s1, 1e-12);
  EXPECT_NEAR(gptj[9], 2 * (x[1] * c0 + x[0] * s0), 1e-12);
  EXPECT_NEAR(gptj[10], 2 * (x[2] * c1 - x[3] * s1), 1e-12);
}

TEST(Ops, AttentionIsASoftmaxOverTheWindow) {
  // One head of 4; keys and values are kX itself, exact in f32.
  std::string kv = ".kv $kv layers=1 heads=1 dk=4 dv=4 fmt=f32 page=4\n.w $sink f32[1]";
  auto attended = [&](int query, int first, bool sink, f64 cap) {
    std::vector<f64> weights;
    f64 sum = sink ? std::exp(1.0) : 0;
    for (int k = first; k <= query; ++k) {
      f64 score = 0;
      for (std::size_t i = 0; i < 4; ++i)
        score += kX[static_cast<std::size_t>(query)][i] * kX[static_cast<std::size_t>(k)][i];
      score *= 0.5;
      if (cap > 0) score = cap * std::tanh(score / cap);
      weights.push_back(std::exp(score));
      sum += weights.back();
    }
    std::vector<f64> out(4, 0);
    for (int k = first; k <= query; ++k) {
      for (std::size_t i = 0; i < 4; ++i)
        out[i] +=
            weights[static_cast<std::size_t>(k - first)] / sum * kX[static_cast<std::size_t>(k)][i];
    }
    return out;
  };
  struct Case {
    const char* attn;
    int first;
    bool sink;
    f64 cap;
  };
  const Case cases[] = {
      {"%a = attn %x, $kv[0], %bt {heads=1 scale=0.5} -> f32[T,4]\n%y = mul %a, $sink1 -> f32[T,4]",
       0, false, 0},
      {"%y = attn %x, $kv[0], %bt, $sink {heads=1 scale=0.5} -> f32[T,4]", 0, true, 0},
      {"%y = attn %x, $kv[0], %bt, $sink {heads=1 scale=0.5 softcap=3} -> f32[T,4]", 0, true, 3},
      {"%y = attn %x, $kv[0], %bt, $sink {heads=1 scale=0.5 window=2} -> f32[T,4]", 1, true, 0},
  };
  for (const Case& c : cases) {
    std::string declarations = kv;
    std::string body = c.attn;
    if (!c.sink) {  // $sink must be used by something: a row of ones after it is multiplied in.
      declarations =
          ".kv $kv layers=1 heads=1 dk=4 dv=4 fmt=f32 page=4\n.const $sink1 f32[4] = 1 1 1 1";
    }
    std::vector<f64> y = run_body(declarations, "kv_append $kv[0], %x, %x, %bt\n" + body);
    ASSERT_EQ(y.size(), 12u);
    expect_near({y.begin() + 8, y.end()}, attended(2, c.first, c.sink, c.cap), 1e-9);
  }
}

TEST(Ops, BatchWithoutRowsRuns) {
  TestModel model(read_testdata("tiny.tga"));
  Interpreter interpreter = model.interpreter(Precision::kSameType);
  TestSequence sequence{{0, 1}, 0};
  TestBatch batch;
  batch.add(sequence, std::vector<i32>{1, 2, 3}, 4, false);
  Result<std::vector<Tensor>> out = interpreter.run(batch.view());
  ASSERT_TRUE(out.ok()) << out.error().message;
  EXPECT_TRUE((*out)[0].data.empty());
}

}  // namespace
}  // namespace tg::isa
