// How a buyer says what a request may cost and how it is paid: in headers, which every API's
// clients can send, or in the body's "tokengrid" object.
//
//   x-tokengrid-max-cost: 12.5        in the model's own unit; "12.5 ST", "0.002 credit"
//   x-tokengrid-hold: guaranteed      or sliced, best_effort
//   x-tokengrid-quote: BASE64         a quote of /v1/estimate: its prices hold
//   {"tokengrid": {"max_cost": "12.5 ST", "hold": "sliced", "quote": "..."}}
#pragma once

#include "gateway/billing.h"
#include "gateway/http.h"
#include "gateway/json_fields.h"

namespace tg::gateway {

// kInvalid names what is wrong: up to nine decimals, and "ST", "credit" or nothing.
Result<MaxCost> parse_max_cost(std::string_view text);

// Fills in what the body left open.
Problem read_funds_headers(const FundsHeaders& headers, FundsTerms& out);
// The "tokengrid" object's fields about funds; the others are route_wishes.h's, which refuses
// unknown ones, because a limit that is silently dropped is a wrong bill.
Problem read_funds_object(std::string_view name, dom::element value, FundsTerms& out);

}  // namespace tg::gateway
