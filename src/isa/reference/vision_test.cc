// patchify, conv2d, pool2d, interp2d, permute, splice and rope by sections: numbers by hand, and
// conv2d against patches times a matrix.
#include <cmath>

#include "isa/reference/op_test.h"

namespace tg::isa {
namespace {

Numbers counting(i64 n) {
  Numbers out;
  for (i64 i = 0; i < n; ++i) out.push_back(static_cast<f64>(i));
  return out;
}

// One input and one instruction, on S images.
Numbers on_images(const std::string& in, const std::string& body, Tensor x,
                  const std::string& declarations = "", i32 images = 1) {
  OpText op{.declarations = declarations, .inputs = ", %x f32[" + in + "]", .body = body};
  return run_once(op, std::vector<Shape>(static_cast<std::size_t>(images)), {std::move(x)})[0].data;
}

// Two channels of 2 x 4, patches of 2: left and right half, channel after channel.
TEST(Patchify, RowsArePatchesColumnsAreChannels) {
  expect_numbers(on_images("S,2,2,4", "%y = patchify %x {patch=2} -> f32[2*S,8]",
                           tensor({1, 2, 2, 4}, counting(16))),
                 {0, 1, 4, 5, 8, 9, 12, 13, 2, 3, 6, 7, 10, 11, 14, 15});
  expect_numbers(on_images("S,1,1,2", "%y = patchify %x {patch=1} -> f32[2*S,1]",
                           tensor({2, 1, 1, 2}, {1, 2, 3, 4}), "", 2),
                 {1, 2, 3, 4});
  EXPECT_TRUE(on_images("S,1,1,2", "%y = patchify %x {patch=1} -> f32[2*S,1]",
                        tensor({0, 1, 1, 2}, {}), "", 0)
                  .empty());
}

TEST(Permute, ReordersAxes) {
  expect_numbers(on_images("S,2,3", "%y = permute %x {axes=(0,2,1)} -> f32[S,3,2]",
                           tensor({1, 2, 3}, counting(6))),
                 {0, 3, 1, 4, 2, 5});
  expect_numbers(on_images("S,2,3", "%y = permute %x {axes=(1,2,0)} -> f32[2,3,S]",
                           tensor({2, 2, 3}, counting(12)), "", 2),
                 {0, 6, 1, 7, 2, 8, 3, 9, 4, 10, 5, 11});
}

TEST(Pool2d, MeanAndMax) {
  Tensor x = tensor({1, 1, 3, 4}, {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, -12});
  expect_numbers(on_images("S,1,3,4", "%y = pool2d %x {kind=mean size=2} -> f32[S,1,2,3]", x),
                 {3.5, 4.5, 5.5, 7.5, 8.5, 3.5});
  expect_numbers(
      on_images("S,1,3,4", "%y = pool2d %x {kind=max size=2 stride=2} -> f32[S,1,1,2]", x), {6, 8});
}

// Half-pixel centres: twice as wide, the inner samples are at quarters; the edges repeat.
TEST(Interp2d, HalfPixelCentres) {
  expect_numbers(
      on_images("S,1,1,2", "%y = interp2d %x -> f32[S,1,1,4]", tensor({1, 1, 1, 2}, {0, 4})),
      {0, 1, 3, 4});
  expect_numbers(
      on_images("S,1,1,4", "%y = interp2d %x -> f32[S,1,1,2]", tensor({1, 1, 1, 4}, {0, 1, 2, 3})),
      {0.5, 2.5});
  expect_numbers(
      on_images("S,1,2,2", "%y = interp2d %x -> f32[S,1,2,2]", tensor({1, 1, 2, 2}, {1, 2, 3, 4})),
      {1, 2, 3, 4});
  expect_numbers(
      on_images("S,1,2,2", "%y = interp2d %x -> f32[S,1,1,1]", tensor({1, 1, 2, 2}, {1, 2, 3, 4})),
      {2.5});
  // f(r,c) = 10 r + c is bilinear, so it is met exactly inside.
  Numbers y =
      on_images("S,1,4,4", "%y = interp2d %x -> f32[S,1,2,8]",
                tensor({1, 1, 4, 4}, {0, 1, 2, 3, 10, 11, 12, 13, 20, 21, 22, 23, 30, 31, 32, 33}));
  for (std::size_t c = 1; c + 1 < 8; ++c)
    EXPECT_NEAR(y[c], 10 * 0.5 + (static_cast<f64>(c) + 0.5) / 2 - 0.5, 1e-12);
}

TEST(Interp2d, OfAWeight) {
  OpText op{.declarations = ".w $p f32[1,2,1,2]", .body = "%y = interp2d $p -> f32[1,2,1,4]"};
  TestModel model(op.text());
  quantize_row(DType::kF32, std::vector<f32>{0, 4, 8, 0}, model.storage[0]);
  Interpreter interpreter = model.interpreter(Precision::kSameType);
  expect_numbers(run_ok(interpreter, batch_of({}))[0].data, {0, 1, 3, 4, 8, 6, 2, 0});
  EXPECT_EQ(interpreter.counters()[unit::kEw], 8u * 8);
}

TEST(Conv2d, ByHand) {
  const char* ones = ".w $w f32[1,4]";
  auto run = [&](const std::string& body, Tensor x, const std::string& in,
                 const std::vector<f32>& w, const char* declared) {
    OpText op{.declarations = declared, .inputs = ", %x f32[" + in + "]", .body = body};
    TestModel model(op.text());
    quantize_row(DType::kF32, w, model.storage[0]);
    Interpreter interpreter = model.interpreter(Precision::kGolden);
    TestBatch batch = batch_of({{}});
    batch.extra = {std::move(x)};
    return run_ok(interpreter, batch)[0].data;
  };
  // w = [1 2; 3 4]: it is not flipped.
  expect_numbers(run("%y = conv2d %x, $w {kh=2 kw=2} -> f32[S,1,1,2]",
                     tensor({1, 1, 2, 3}, {1, 0, 2, 0, 1, 0}), "S,1,2,3", {1, 2, 3, 4}, ones),
                 {5, 7});
  expect_numbers(run("%y = conv2d %x, $w {kh=2 kw=2 pad=1 stride=2} -> f32[S,1,2,2]",
                     tensor({1, 1, 2, 3}, {1, 0, 2, 0, 1, 0}), "S,1,2,3", {1, 2, 3, 4}, ones),
                 {4, 8, 0, 1});
  // A line: one row, padded along it only.
  expect_numbers(run("%y = conv2d %x, $w {kh=1 kw=3 pad=1} -> f32[S,1,1,4]",
                     tensor({1, 1, 1, 4}, {1, 2, 3, 4}), "S,1,1,4", {1, 10, 100}, ".w $w f32[1,3]"),
                 {210, 321, 432, 43});
}

// Patches of the padded image times the weight's rows, plus the bias.
TEST(Conv2d, IsAProductOfPatches) {
  struct Case {
    i64 height, width, kh, kw, stride, pad;
  };
  const Case cases[] = {
      {5, 4, 3, 3, 1, 1}, {5, 4, 3, 2, 2, 0}, {6, 6, 1, 1, 3, 0}, {3, 3, 3, 3, 2, 2}};
  std::mt19937 random(3);
  for (const Case& c : cases) {
    i64 oh = (c.height + 2 * c.pad - c.kh) / c.stride + 1;
    i64 ow = (c.width + 2 * c.pad - c.kw) / c.stride + 1;
    auto n = [](i64 v) { return std::to_string(v); };
    OpText op{.declarations = ".w $w f16[3," + n(2 * c.kh * c.kw) + "]\n.w $b f32[3]",
              .inputs = ", %x f32[S,2," + n(c.height) + "," + n(c.width) + "]",
              .body = "%y = conv2d %x, $w, $b {kh=" + n(c.kh) + " kw=" + n(c.kw) +
                      " stride=" + n(c.stride) + " pad=" + n(c.pad) + "} -> f32[S,3," + n(oh) +
                      "," + n(ow) + "]"};
    TestModel model(op.text());
    Numbers w = model.values("w"), b = model.values("b"), expected;
    Tensor x = random_tensor(random, {2, 2, c.height, c.width});
    for (i64 i = 0; i < 2 * 3 * oh * ow; ++i) {
      i64 image = i / (3 * oh * ow), out = i / (oh * ow) % 3, row = i / ow % oh, column = i % ow;
      f64 sum = b[static_cast<std::size_t>(out)];
      for (i64 j = 0; j < 2 * c.kh * c.kw; ++j) {
        i64 channel = j / (c.kh * c.kw);
        i64 y = row * c.stride - c.pad + j / c.kw % c.kh;
        i64 z = column * c.stride - c.pad + j % c.kw;
        if (y < 0 || y >= c.height || z < 0 || z >= c.width) continue;
        i64 at = ((image * 2 + channel) * c.height + y) * c.width + z;
        sum += x.data[static_cast<std::size_t>(at)] *
               w[static_cast<std::size_t>(out * 2 * c.kh * c.kw + j)];
      }
      expected.push_back(sum);
    }
    for (Precision precision : {Precision::kGolden, Precision::kSameType}) {
      Interpreter interpreter = model.interpreter(precision);
      TestBatch batch = batch_of({{}, {}});
      batch.extra = {x};
      expect_numbers(run_ok(interpreter, batch)[0].data, expected,
                     precision == Precision::kGolden ? 1e-12 : 1e-5);
      u64 outputs = static_cast<u64>(2 * 3 * oh * ow);
      u64 taps = static_cast<u64>(2 * c.kh * c.kw);
      EXPECT_EQ(interpreter.counters()[unit::kMmF16], 2 * outputs * taps);
      EXPECT_EQ(interpreter.counters()[unit::kEw], outputs);
      EXPECT_EQ(interpreter.counters()[unit::kWBytes], 3 * taps * 2);
    }
  }
}

TEST(Splice, ReplacesTheRowsNamed) {
  OpText op{.inputs = ", %x f32[T,2], %rows2 i32[T], %z f32[S,2]",
            .body = "%y = splice %x, %rows2, %z -> f32[T,2]"};
  TestModel model(op.text());
  Interpreter interpreter = model.interpreter(Precision::kGolden);
  TestBatch batch = batch_of({{0, 2}, {0, 1}});
  batch.extra = {tensor({3, 2}, {1, 2, 3, 4, 5, 6}), tensor({3}, {1, -1, 0}, DType::kI32),
                 tensor({2, 2}, {10, 20, 30, 40})};
  expect_numbers(run_ok(interpreter, batch)[0].data, {30, 40, 3, 4, 10, 20});
  batch.extra[1].data[1] = 2;
  EXPECT_EQ(run_trap(interpreter, batch), "trap: row 2 of 2");
}

TEST(Inputs, OfAnotherShapeTrap) {
  OpText op{.inputs = ", %x f32[S,2,2,1]",
            .body = "%y = permute %x {axes=(0,1,3,2)} -> f32[S,2,1,2]"};
  TestModel model(op.text());
  Interpreter interpreter = model.interpreter(Precision::kGolden);
  TestBatch batch = batch_of({{0, 2}});
  batch.extra = {tensor({1, 2, 1, 2}, counting(4))};
  EXPECT_EQ(run_trap(interpreter, batch), "trap: an input is f32[1,2,1,2], not f32[1,2,2,1]");
  batch.extra[0] = tensor({1, 2, 2, 1}, counting(4), DType::kF16);
  EXPECT_EQ(run_trap(interpreter, batch), "trap: an input is f16[1,2,2,1], not f32[1,2,2,1]");
  batch.extra.clear();
  EXPECT_EQ(run_trap(interpreter, batch), "trap: the batch's arrays do not fit each other");
}

// Frequencies 0 and 1 turn by the first row of positions, 2 by the second; pairs as neox.
TEST(Rope, SectionsTurnByTheirOwnPositions) {
  std::string text =
      ".tgp 1.0 profile=TEXT,VISION\n.dim T<=8 S<=2 R<=4 C<=16\n"
      ".const $f f32[2,3] = 9 9 9 1 0.5 0.25\n"
      ".func main (%ids i32[T], %pos i32[2,T], %rows i32[R], %bt batch, %x f32[T,7]) -> %y\n"
      "%y = rope %x, %pos, $f {heads=1 rot=6 offset=1 table=1 style=mrope sections=(2,1)} -> "
      "f32[T,7]\n.end\n";
  TestModel model(text);
  Interpreter interpreter = model.interpreter(Precision::kGolden);
  TestBatch batch = batch_of({{0, 2}});
  batch.positions = {0, 3, 5, 7};
  Tensor x = tensor({2, 7}, {1, 2, 3, 4, 5, 6, 7, 1, 2, 3, 4, 5, 6, 7});
  batch.extra = {x};
  Numbers y = run_ok(interpreter, batch)[0].data;
  auto f = [](f64 v) { return static_cast<f64>(static_cast<f32>(v)); };
  for (std::size_t t = 0; t < 2; ++t) {
    EXPECT_EQ(y[t * 7], 1);
    const f64 angles[] = {t == 0 ? 0.0 : 3.0, t == 0 ? 0.0 : 1.5, t == 0 ? 1.25 : 1.75};
    for (std::size_t i = 0; i < 3; ++i) {
      f64 c = f(std::cos(angles[i])), s = f(std::sin(angles[i]));
      f64 a = static_cast<f64>(2 + i), b = static_cast<f64>(5 + i);
      EXPECT_NEAR(y[t * 7 + 1 + i], a * c - b * s, 1e-12) << t << " " << i;
      EXPECT_NEAR(y[t * 7 + 4 + i], b * c + a * s, 1e-12) << t << " " << i;
    }
  }
  batch.positions = {0, 3};
  EXPECT_EQ(run_trap(interpreter, batch), "trap: the batch's arrays do not fit each other");
}

// ---- bmm with a weight

TEST(BmmWeight, BothWaysAndOneRowForAllGroups) {
  struct Case {
    const char* body;
    std::vector<i64> a;
    bool transposed;
  };
  const Case cases[] = {
      {"%y = bmm %x, $w -> f32[T,2,3]", {3, 2, 4}, false},
      {"%y = bmm %x, $w {trans=1} -> f32[T,2,4]", {3, 2, 3}, true},
      {"%y = bmm %x, $w -> f32[T,2,3]", {3, 1, 4}, false},
      {"%y = bmm %x, $w {trans=1} -> f32[T,2,4]", {3, 1, 3}, true},
  };
  std::mt19937 random(4);
  for (const Case& c : cases) {
    std::string dims = std::to_string(c.a[1]) + "," + std::to_string(c.a[2]);
    OpText op{
        .declarations = ".w $w f16[2,3,4]", .inputs = ", %x f32[T," + dims + "]", .body = c.body};
    TestModel model(op.text());
    Numbers w = model.values("w");
    Tensor x = random_tensor(random, c.a);
    std::size_t n = c.transposed ? 4 : 3, k = c.transposed ? 3 : 4;
    Numbers expected;
    for (i64 t = 0; t < 3; ++t) {
      for (std::size_t g = 0; g < 2; ++g) {
        std::span<const f64> row = x.row(t * c.a[1] + (c.a[1] == 1 ? 0 : static_cast<i64>(g)));
        for (std::size_t i = 0; i < n; ++i) {
          f64 sum = 0;
          for (std::size_t j = 0; j < k; ++j)
            sum += row[j] * (c.transposed ? w[(g * 3 + j) * 4 + i] : w[(g * 3 + i) * 4 + j]);
          expected.push_back(sum);
        }
      }
    }
    Interpreter interpreter = model.interpreter(Precision::kGolden);
    TestBatch batch = batch_of({{0, 3}});
    batch.extra = {x};
    expect_numbers(run_ok(interpreter, batch)[0].data, expected, 1e-12);
    EXPECT_EQ(interpreter.counters()[unit::kMmF16], 2u * 3 * 2 * 3 * 4);
    EXPECT_EQ(interpreter.counters()[unit::kWBytes], 2u * 3 * 4 * 2);
  }
}

}  // namespace
}  // namespace tg::isa
