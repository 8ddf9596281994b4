// patchify, conv2d, pool2d, interp2d and permute: images [S,C,H,W].
#include <algorithm>
#include <cmath>

#include "isa/reference/step.h"
#include "isa/verify/op_view.h"

namespace tg::isa {

namespace {

// Images, row-major.
struct Planes {
  std::span<const f64> data;
  i64 channels;
  i64 height;
  i64 width;

  explicit Planes(const Tensor& x)
      : data(x.data), channels(x.dims[1]), height(x.dims[2]), width(x.dims[3]) {}
  Planes(std::span<const f64> elements, std::span<const i64> dims)
      : data(elements), channels(dims[1]), height(dims[2]), width(dims[3]) {}

  f64 at(i64 image, i64 channel, i64 row, i64 column) const {
    i64 i = ((image * channels + channel) * height + row) * width + column;
    return data[static_cast<std::size_t>(i)];
  }
};

// Where an element of a rank-4 result is.
struct Position {
  i64 image, channel, row, column;
};

Position position_of(const std::vector<i64>& dims, i64 i) {
  i64 column = i % dims[3];
  i /= dims[3];
  i64 row = i % dims[2];
  i /= dims[2];
  return {.image = i / dims[1], .channel = i % dims[1], .row = row, .column = column};
}

// Row t is patch t of its image, patches row by row; columns by channel, row, column.
void unfold(const Planes& x, i64 patch, Tensor& y) {
  i64 across = x.width / patch;
  i64 patches = x.height / patch * across;
  for (i64 t = 0; t < y.rows(); ++t) {
    i64 top = t % patches / across * patch;
    i64 left = t % patches % across * patch;
    for (i64 i = 0; i < y.columns(); ++i)
      y.row(t)[static_cast<std::size_t>(i)] =
          x.at(t / patches, i / (patch * patch), top + i / patch % patch, left + i % patch);
  }
}

}  // namespace

template <typename F>
void Step<F>::patchify(const FlatInstruction& op) {
  Tensor y = make(op.out[0]);
  unfold(Planes(in(op, 0)), op.word(AttributeKey::kPatch), y);
  finish(op.out[0], std::move(y));
}

namespace {

struct Kernel {
  i64 height, width, stride, pad_rows, pad_columns;
};

// Padding is for axes longer than 1: a convolution over a line pads the line only.
Kernel kernel_of(const FlatInstruction& op, const Planes& x) {
  i64 pad = op.word(AttributeKey::kPad);
  return {.height = op.word(AttributeKey::kKh),
          .width = op.word(AttributeKey::kKw),
          .stride = op.word(AttributeKey::kStride),
          .pad_rows = x.height > 1 ? pad : 0,
          .pad_columns = x.width > 1 ? pad : 0};
}

// The products of one output in order of channel, row, column; outside the image there are none.
template <typename F>
F convolve(const Planes& x, const Kernel& k, const Position& to, std::span<const f32> w) {
  F sum = 0;
  std::size_t i = 0;
  for (i64 channel = 0; channel < x.channels; ++channel) {
    for (i64 dy = 0; dy < k.height; ++dy) {
      for (i64 dx = 0; dx < k.width; ++dx, ++i) {
        i64 row = to.row * k.stride - k.pad_rows + dy;
        i64 column = to.column * k.stride - k.pad_columns + dx;
        bool inside = row >= 0 && row < x.height && column >= 0 && column < x.width;
        if (inside) sum += F(x.at(to.image, channel, row, column)) * F(w[i]);
      }
    }
  }
  return sum;
}

}  // namespace

template <typename F>
void Step<F>::conv2d(const FlatInstruction& op) {
  Planes x(in(op, 0));
  Kernel kernel = kernel_of(op, x);
  Tensor y = make(op.out[0]);
  std::vector<F> bias = op.in.size() > 2 ? table(op.in[2]) : std::vector<F>{};
  std::vector<std::vector<f32>> w;
  for (i64 channel = 0; channel < y.dims[1]; ++channel) w.push_back(weight_row(op.in[1], channel));
  i64 outputs = static_cast<i64>(y.data.size());
  for (i64 i = 0; i < outputs; ++i) {
    Position to = position_of(y.dims, i);
    std::size_t channel = static_cast<std::size_t>(to.channel);
    F sum = convolve<F>(x, kernel, to, w[channel]);
    y.data[static_cast<std::size_t>(i)] = bias.empty() ? sum : sum + bias[channel];
  }
  DType codec = context_.program.weights[op.in[1].index].codec;
  i64 products = x.channels * kernel.height * kernel.width;
  count(product_class(codec, ActivationQuant::kNone), 2 * outputs * products);
  if (!bias.empty()) count(unit::kEw, outputs);
  if (outputs > 0) count(unit::kWBytes, static_cast<i64>(weight_bytes(op.in[1]).size()));
  finish(op.out[0], std::move(y));
}

template <typename F>
void Step<F>::pool2d(const FlatInstruction& op) {
  Planes x(in(op, 0));
  Tensor y = make(op.out[0]);
  i64 size = op.word(AttributeKey::kSize);
  i64 stride = op.word(AttributeKey::kStride);
  bool takes_max = op.word(AttributeKey::kReduction) == static_cast<u32>(Reduction::kMax);
  i64 outputs = static_cast<i64>(y.data.size());
  for (i64 i = 0; i < outputs; ++i) {
    Position to = position_of(y.dims, i);
    F value = F(x.at(to.image, to.channel, to.row * stride, to.column * stride));
    for (i64 j = 1; j < size * size; ++j) {
      F next =
          F(x.at(to.image, to.channel, to.row * stride + j / size, to.column * stride + j % size));
      value = takes_max ? std::max(value, next) : value + next;
    }
    y.data[static_cast<std::size_t>(i)] = takes_max ? value : value / F(size * size);
  }
  count(unit::kEw, outputs * size * size);
  finish(op.out[0], std::move(y));
}

namespace {

// The two source positions around an output position, and the second one's share. Pixel centres are
// at halves; beyond the outermost centres the edge repeats. Computed in f64.
struct Between {
  i64 low;
  i64 high;
  f64 share;
};

Between between(i64 to, i64 out_size, i64 in_size) {
  f64 from =
      (static_cast<f64>(to) + 0.5) * static_cast<f64>(in_size) / static_cast<f64>(out_size) - 0.5;
  f64 low = std::floor(from);
  i64 first = static_cast<i64>(low);
  return {.low = std::clamp<i64>(first, 0, in_size - 1),
          .high = std::clamp<i64>(first + 1, 0, in_size - 1),
          .share = from - low};
}

template <typename F>
F mix(F a, F b, F share) {
  return a * (F(1) - share) + b * share;
}

}  // namespace

// Along the rows first, then between them.
template <typename F>
void Step<F>::interp2d(const FlatInstruction& op) {
  bool is_weight = op.in[0].kind == OperandKind::kWeight;
  std::vector<F> elements = table(op.in[0]);
  std::vector<f64> data(elements.begin(), elements.end());
  Planes x(data, is_weight ? weight_dims(op.in[0]) : in(op, 0).dims);
  Tensor y = make(op.out[0]);
  for (i64 i = 0; i < static_cast<i64>(y.data.size()); ++i) {
    Position to = position_of(y.dims, i);
    Between row = between(to.row, y.dims[2], x.height);
    Between column = between(to.column, y.dims[3], x.width);
    auto along = [&](i64 at_row) {
      return mix(F(x.at(to.image, to.channel, at_row, column.low)),
                 F(x.at(to.image, to.channel, at_row, column.high)), F(column.share));
    };
    y.data[static_cast<std::size_t>(i)] = mix(along(row.low), along(row.high), F(row.share));
  }
  count(unit::kEw, 8 * static_cast<i64>(y.data.size()));
  finish(op.out[0], std::move(y));
}

template <typename F>
void Step<F>::permute(const FlatInstruction& op) {
  const Tensor& x = in(op, 0);
  Tensor y = make(op.out[0]);
  std::span<const u32> axes = attribute_words(op.op, op.attributes, AttributeKey::kAxes);
  std::vector<i64> step(x.dims.size(), 1);  // of each axis of x, in elements
  for (std::size_t axis = x.dims.size() - 1; axis > 0; --axis)
    step[axis - 1] = step[axis] * x.dims[axis];
  for (i64 i = 0; i < static_cast<i64>(y.data.size()); ++i) {
    i64 rest = i;
    i64 from = 0;
    for (std::size_t axis = y.dims.size(); axis-- > 0;) {
      from += rest % y.dims[axis] * step[axes[axis]];
      rest /= y.dims[axis];
    }
    y.data[static_cast<std::size_t>(i)] = x.data[static_cast<std::size_t>(from)];
  }
  finish(op.out[0], std::move(y));
}

template void Step<f32>::patchify(const FlatInstruction&);
template void Step<f64>::patchify(const FlatInstruction&);
template void Step<f32>::conv2d(const FlatInstruction&);
template void Step<f64>::conv2d(const FlatInstruction&);
template void Step<f32>::pool2d(const FlatInstruction&);
template void Step<f64>::pool2d(const FlatInstruction&);
template void Step<f32>::interp2d(const FlatInstruction&);
template void Step<f64>::interp2d(const FlatInstruction&);
template void Step<f32>::permute(const FlatInstruction&);
template void Step<f64>::permute(const FlatInstruction&);

}  // namespace tg::isa
