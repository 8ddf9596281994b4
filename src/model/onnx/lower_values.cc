// Operators that move values or compute sizes. On activations they become views or nothing; on
// integers they are carried out on what the integers mean.
#include <fmt/format.h>

#include <algorithm>
#include <bit>

#include "base/bytes.h"
#include "model/onnx/lowering.h"

namespace tg::onnx {
namespace {

using Meaning = Integer::Meaning;

Integer number(i64 value) {
  return {Meaning::kNumber, value};
}

bool is_row_vector(const Integer& integer) {
  return integer.meaning == Meaning::kBatch || integer.meaning == Meaning::kLength ||
         (integer.meaning == Meaning::kNumber && integer.number <= 1);
}

}  // namespace

Status Lowering::emit_alias(const Node& node) {
  TG_ASSIGN(const Entry* x, find(node, 0));
  return define(node, 0, *x);
}

// Activations have the program's type, whatever the file casts them to: a cast down in the file is
// a rounding less here. Casts of constants are only followed where they keep the value.
Status Lowering::emit_cast(const Node& node) {
  TG_ASSIGN(const Entry* x, find(node, 0));
  TG_ASSIGN(i64 to, integer_in(node, "to", 0, 1, 1'000));
  ElementType type = static_cast<ElementType>(static_cast<i32>(to));
  bool is_good = false;
  switch (x->kind) {
    case Entry::Kind::kHidden: is_good = is_real(type); break;
    case Entry::Kind::kTensor:
      is_good = type == x->tensor->type ||
                (type == ElementType::kFloat && is_real(x->tensor->type)) ||
                (is_integer(type) && is_integer(x->tensor->type));
      break;
    case Entry::Kind::kIds:
    case Entry::Kind::kMask:
    case Entry::Kind::kPositions:
    case Entry::Kind::kIntegers: is_good = is_integer(type); break;
    default: break;
  }
  if (!is_good) return unsupported(node, "its input cannot be cast to " + onnx::name(type));
  return define(node, 0, *x);
}

Status Lowering::emit_constant(const Node& node) {
  if (node.attributes.size() != 1) return invalid(node, "expected one attribute");
  const Attribute& a = node.attributes[0];
  if (a.tensor.has_value()) {
    if (a.tensor->external.has_value()) return unsupported(node, "its data lies in another file");
    return define(node, 0,
                  {.kind = Entry::Kind::kTensor, .tensor = &*a.tensor, .dims = a.tensor->dims});
  }
  if (a.name == "value_int" || a.name == "value_ints") {
    std::vector<Integer> out;
    if (a.integer.has_value()) out.push_back(number(*a.integer));
    for (i64 value : a.integers) out.push_back(number(value));
    return define_integers(node, std::move(out));
  }
  std::vector<f32> values = a.reals;
  Tensor& made = made_.emplace_back();
  if (a.real.has_value()) {
    values = {*a.real};
  } else {
    made.dims = {static_cast<i64>(values.size())};
  }
  if (values.empty()) return invalid(node, "it has no value");
  made.type = ElementType::kFloat;
  made.name = node.output(0);
  for (f32 value : values) append_u32(made.decoded, std::bit_cast<u32>(value));
  return define(node, 0, {.kind = Entry::Kind::kTensor, .tensor = &made, .dims = made.dims});
}

Status Lowering::emit_shape(const Node& node) {
  TG_ASSIGN(const Entry* x, find(node, 0));
  TG_TRY(integer_in(node, "start", 0, 0, 0));
  Integer batch{Meaning::kBatch};
  Integer length{Meaning::kLength};
  switch (x->kind) {
    case Entry::Kind::kIds:
    case Entry::Kind::kPositions: return define_integers(node, {batch, length});
    case Entry::Kind::kMask: return define_integers(node, {batch, {Meaning::kTotal}});
    case Entry::Kind::kPast: return define_integers(node, {batch, {}, {}, {}});
    case Entry::Kind::kHidden: {
      if (x->group != 0) return define_integers(node, {batch, {}, number(x->group)});
      return define_integers(node, {batch, length, number(width(x->value))});
    }
    case Entry::Kind::kTensor: {
      std::vector<Integer> out;
      for (i64 dim : x->dims) out.push_back(number(dim));
      return define_integers(node, std::move(out));
    }
    default: return unsupported(node, "the shape of its input is not followed");
  }
}

// Three uses: rows of the embedding, one size of a shape, and the last token (prune_lm_head).
Status Lowering::emit_gather(const Node& node) {
  TG_ASSIGN(const Entry* data, find(node, 0));
  TG_ASSIGN(const Entry* indices, find(node, 1));
  TG_ASSIGN(i64 axis, integer(node, "axis", 0));
  if (data->kind == Entry::Kind::kHidden) {
    TG_ASSIGN(i32 x, hidden(node, 0));
    TG_ASSIGN(std::vector<i64> at, numbers(node, 1));
    if (axis != 1 || at != std::vector<i64>{-1} || is_pruned_)
      return unsupported(node, "gathers tokens other than the last");
    is_pruned_ = true;
    return define_hidden(node, 0, x);
  }
  if (axis != 0) return unsupported(node, fmt::format("gathers along axis {}", axis));
  if (indices->kind == Entry::Kind::kIds && data->kind == Entry::Kind::kTensor)
    return embed(node, *data);
  return gather_integer(node, *data);
}

Status Lowering::gather_integer(const Node& node, const Entry& data) {
  if (data.kind != Entry::Kind::kIntegers)
    return unsupported(node, "gathers neither from the embedding nor from a shape");
  TG_ASSIGN(std::vector<i64> at, numbers(node, 1));
  i64 size = static_cast<i64>(data.integers.size());
  std::vector<Integer> out;
  for (i64 i : at) {
    if (i < -size || i >= size)
      return invalid(node, fmt::format("index {} of {} integers", i, size));
    out.push_back(data.integers[static_cast<std::size_t>(i < 0 ? i + size : i)]);
  }
  return define_integers(node, std::move(out));
}

// Integers keep no rank, so adding or dropping a dimension of 1 changes nothing.
Status Lowering::emit_squeeze(const Node& node) {
  TG_ASSIGN(const Entry* x, find(node, 0));
  if (x->kind == Entry::Kind::kHidden) {
    TG_ASSIGN(i32 value, hidden(node, 0));
    TG_ASSIGN(std::vector<i64> axes, numbers(node, 1));
    if (!x->is_last_row || axes != std::vector<i64>{1})
      return unsupported(node, "changes an activation's rank");
    return define_hidden(node, 0, value);
  }
  TG_ASSIGN(std::vector<Integer> all, integers(node, 0));
  return define_integers(node, std::move(all));
}

Status Lowering::concat_integers(const Node& node) {
  std::vector<Integer> out;
  for (std::size_t i = 0; i < node.inputs.size(); ++i) {
    TG_ASSIGN(std::vector<Integer> part, integers(node, i));
    out.insert(out.end(), part.begin(), part.end());
  }
  return define_integers(node, std::move(out));
}

Status Lowering::emit_concat(const Node& node) {
  TG_ASSIGN(i64 axis, integer(node, "axis", 0));
  if (!is_hidden(node, 0)) {
    if (axis != 0) return unsupported(node, fmt::format("joins along axis {}", axis));
    return concat_integers(node);
  }
  TG_ASSIGN(const Entry* first, hidden_entry(node, 0));
  TG_TRY(last_axis(node, *first, axis));
  std::vector<Ref> parts;
  i64 total = 0;
  for (std::size_t i = 0; i < node.inputs.size(); ++i) {
    TG_ASSIGN(i32 part, hidden(node, i));
    parts.push_back(value_ref(part));
    total += width(part);
  }
  if (parts.size() < 2) return define_hidden(node, 0, parts[0].index);
  if (total > kWidthMax) return unsupported(node, fmt::format("joins {} columns", total));
  return define_hidden(node, 0, emit("concat", std::move(parts), "", total));
}

Status Lowering::emit_reshape(const Node& node) {
  TG_ASSIGN(const Entry* x, find(node, 0));
  TG_TRY(integer_in(node, "allowzero", 0, 0, 0));
  TG_ASSIGN(std::vector<Integer> shape, integers(node, 1));
  if (shape.empty()) return unsupported(node, "reshapes to a scalar");
  switch (x->kind) {
    case Entry::Kind::kHidden: {
      TG_ASSIGN(x, hidden_entry(node, 0));
      return reshape_hidden(node, *x, shape);
    }
    case Entry::Kind::kTensor: return reshape_tensor(node, *x, shape);
    case Entry::Kind::kIntegers: return define(node, 0, *x);
    case Entry::Kind::kIds:
    case Entry::Kind::kMask:
    case Entry::Kind::kPositions: {
      bool is_same = shape.size() == 2 && is_row_vector(shape[0]) &&
                     (shape[1].meaning == Meaning::kLength || shape[1].meaning == Meaning::kTotal ||
                      (shape[1].meaning == Meaning::kNumber && shape[1].number <= 0));
      if (!is_same) return unsupported(node, "reshapes a graph input");
      return define(node, 0, *x);
    }
    default: return unsupported(node, "its input is not one that is reshaped");
  }
}

// Rows are contiguous, so all that a reshape can change is how many columns are seen as one row:
// all of them, or a head's.
Status Lowering::reshape_hidden(const Node& node, const Entry& x,
                                const std::vector<Integer>& shape) {
  i64 columns = width(x.value);
  const Integer& last = shape.back();
  bool is_inferred = last.meaning == Meaning::kNumber && last.number == -1 && shape.size() == 3 &&
                     (is_row_vector(shape[0]) && is_row_vector(shape[1])) &&
                     !(shape[1].meaning == Meaning::kNumber && x.group != 0);
  i64 seen = is_inferred ? columns : last.number;
  if (last.meaning != Meaning::kNumber || seen < 1 || columns % seen != 0)
    return unsupported(node, fmt::format("reshapes {} columns to rows of {}", columns, seen));
  return define_hidden(node, 0, x.value, seen == columns ? 0 : seen);
}

Status Lowering::reshape_tensor(const Node& node, const Entry& x,
                                const std::vector<Integer>& shape) {
  if (x.is_transposed) return unsupported(node, "reshapes a transposed initializer");
  TG_ASSIGN(std::vector<i64> dims, numbers(node, 1));
  TG_ASSERT(dims.size() == shape.size());
  i64 known = 1;
  i64 open = -1;
  for (std::size_t i = 0; i < dims.size(); ++i) {
    if (dims[i] == 0 && i < x.dims.size()) dims[i] = x.dims[i];
    if (dims[i] == -1 && open < 0) {
      open = static_cast<i64>(i);
      continue;
    }
    if (dims[i] < 1 || known > kElementsMax / dims[i])
      return invalid(node, "reshapes an initializer to " + dims_text(dims));
    known *= dims[i];
  }
  i64 elements = x.tensor->elements();
  if (open >= 0) dims[static_cast<std::size_t>(open)] = elements / known;
  if (open >= 0 ? elements % known != 0 : elements != known)
    return invalid(node, fmt::format("reshapes {} to {}", dims_text(x.dims), dims_text(dims)));
  Entry out = x;
  out.dims = std::move(dims);
  return define(node, 0, std::move(out));
}

Status Lowering::emit_transpose(const Node& node) {
  TG_ASSIGN(const Entry* x, find(node, 0));
  const Attribute* perm = node.find("perm");
  bool swaps = perm == nullptr || perm->integers == std::vector<i64>{1, 0};
  bool is_matrix = x->kind == Entry::Kind::kTensor && x->dims.size() == 2;
  if (!is_matrix || !swaps)
    return unsupported(node, "transposes what is not a weight's matrix: attention is decomposed");
  Entry out = *x;
  out.is_transposed = !out.is_transposed;
  return define(node, 0, std::move(out));
}

// Activations are [batch, tokens, columns] in the file.
Result<i64> Lowering::last_axis(const Node& node, const Entry& x, i64 axis) const {
  if (x.group != 0 || (axis != -1 && axis != 2))
    return unsupported(node, fmt::format("works along axis {} of an activation", axis));
  return width(x.value);
}

Status Lowering::emit_split(const Node& node) {
  TG_ASSIGN(const Entry* x, hidden_entry(node, 0));
  TG_ASSIGN(i64 axis, integer(node, "axis", 0));
  TG_ASSIGN(i64 columns, last_axis(node, *x, axis));
  i64 parts = static_cast<i64>(node.outputs.size());
  std::vector<i64> sizes(static_cast<std::size_t>(parts), columns / parts);
  if (!node.input(1).empty()) {
    TG_ASSIGN(sizes, numbers(node, 1));
  } else if (columns % parts != 0) {
    return unsupported(node, fmt::format("splits {} columns in {} parts", columns, parts));
  }
  i64 at = 0;
  i32 value = x->value;
  for (i64 size : sizes) {
    if (size < 1 || size > columns - at) return invalid(node, "its parts exceed its input");
    at += size;
  }
  if (at != columns || static_cast<i64>(sizes.size()) != parts)
    return invalid(node, fmt::format("{} parts of {} columns, of {}", sizes.size(), at, columns));
  at = 0;
  for (std::size_t i = 0; i < sizes.size(); ++i) {
    i32 part =
        emit("view", {value_ref(value)}, at == 0 ? "" : fmt::format("offset={}", at), sizes[i]);
    TG_TRY(define_hidden(node, i, part));
    at += sizes[i];
  }
  return {};
}

Status Lowering::emit_slice(const Node& node) {
  TG_ASSIGN(std::vector<i64> starts, numbers(node, 1));
  TG_ASSIGN(std::vector<i64> ends, numbers(node, 2));
  std::vector<i64> axes = {0};
  std::vector<i64> steps = {1};
  if (!node.input(3).empty()) {
    TG_ASSIGN(axes, numbers(node, 3));
  }
  if (!node.input(4).empty()) {
    TG_ASSIGN(steps, numbers(node, 4));
  }
  if (starts.size() != 1 || ends.size() != 1 || axes.size() != 1 || steps != std::vector<i64>{1})
    return unsupported(node, "slices more than one axis, or with a step");
  TG_ASSIGN(const Entry* x, hidden_entry(node, 0));
  TG_ASSIGN(i64 columns, last_axis(node, *x, axes[0]));
  i64 first = std::clamp<i64>(starts[0] < 0 ? starts[0] + columns : starts[0], 0, columns);
  i64 last = std::clamp<i64>(ends[0] < 0 ? ends[0] + columns : ends[0], 0, columns);
  if (first >= last) return invalid(node, fmt::format("slices columns {} to {}", first, last));
  i32 value = x->value;
  i32 part = emit("view", {value_ref(value)}, first == 0 ? "" : fmt::format("offset={}", first),
                  last - first);
  return define_hidden(node, 0, part);
}

// Of the mask: how many tokens each sequence has in all.
Status Lowering::emit_reduce_sum(const Node& node) {
  TG_ASSIGN(const Entry* x, find(node, 0));
  TG_ASSIGN(std::vector<i64> axes, numbers(node, 1));
  if (x->kind != Entry::Kind::kMask ||
      (axes != std::vector<i64>{1} && axes != std::vector<i64>{-1}))
    return unsupported(node, "sums what is not attention_mask");
  return define_integers(node, {{Meaning::kMaskSum}});
}

Status Lowering::emit_sub(const Node& node) {
  TG_ASSIGN(std::vector<Integer> a, integers(node, 0));
  TG_ASSIGN(std::vector<Integer> b, integers(node, 1));
  bool is_last =
      a == std::vector<Integer>{{Meaning::kMaskSum}} && b == std::vector<Integer>{number(1)};
  return define_integers(node, {{is_last ? Meaning::kLastIndex : Meaning::kOther}});
}

}  // namespace tg::onnx
