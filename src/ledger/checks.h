// What can be said of an account or a transfer without looking at the ledger's state.
#pragma once

#include "ledger/types.h"

namespace tg::ledger {

constexpr bool is_pending(const Transfer& t) {
  return (t.flags & transfer_flag::kPending) != 0;
}
constexpr bool is_post(const Transfer& t) {
  return (t.flags & transfer_flag::kPostPending) != 0;
}
constexpr bool is_void(const Transfer& t) {
  return (t.flags & transfer_flag::kVoidPending) != 0;
}
constexpr bool is_linked(const Transfer& t) {
  return (t.flags & transfer_flag::kLinked) != 0;
}
constexpr bool is_resolution(const Transfer& t) {
  return is_post(t) || is_void(t);
}

// kOk, or the first reason why this can be in no ledger.
AccountStatus check_form(const Account& account);
TransferStatus check_form(const Transfer& transfer);

// kExists, or the first field in which `given` differs from what is there.
AccountStatus compare_fields(const Account& given, const Account& known);
// The same; fields that a post or void leaves 0 are those of its hold and agree with anything.
TransferStatus compare_fields(const Transfer& given, const Transfer& known);

}  // namespace tg::ledger
