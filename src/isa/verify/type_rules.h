// What the typing rules of types.cc and profile_types.cc are made of. A message names the rule it
// enforces, the operand and its value.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "isa/verify/op_view.h"

namespace tg::isa {

bool is_constant(const Dim& dim);
Dim constant(i64 value);
const Dim& last(const Type& type);
// The type without its last dimension.
std::vector<Dim> leading(const Type& type);
std::string dims_text(const std::vector<Dim>& dims);

// V5 unless the dimensions are these.
Status need_dims(const OpView& op, std::string_view what, const Type& type,
                 const std::vector<Dim>& dims);
// V4 unless f32, f16 or bf16.
Status need_float(const OpView& op, std::string_view what, const Type& type);
Status need_dtype(const OpView& op, std::string_view what, const Type& type, DType dtype);
Status need_rank(const OpView& op, std::string_view what, const Type& type, std::size_t rank);
Status need_min_rank(const OpView& op, std::string_view what, const Type& type, std::size_t rank);
// x and the result are activations of one shape.
Status same_shape(const OpView& op);
// An operand of the result's shape, or one row of it that is used for every row.
Status shape_or_row(const OpView& op, std::size_t i);
// cls, xq and acc of a product whose weight (operand 1) has rows of k elements: V4, V7, V12.
Status product_attributes(const OpView& op, i64 k);

// The typing of every op beyond profile TEXT. REQUIRES: op.op() > Opcode::kSample.
Status check_profile_op(const OpView& op);

}  // namespace tg::isa
