// What a request would cost, promised for half a minute: a text that the meter signs, so that
// whoever holds it can show what was promised and any request it fits is priced by it.
#pragma once

#include <string>
#include <string_view>

#include "env/clock.h"
#include "market/settle.h"
#include "meter/receipt.h"
#include "tlog/note.h"

namespace tg::gateway {

struct Quote {
  u128 account = 0;
  bool is_embedding = false;
  std::string service = "standard";
  std::string model;
  Digest program{};
  i64 prompt_tokens = 0;
  i64 output_tokens_max = 0;
  meter::Pricing pricing;  // One segment.
  // In the card's unit, of one choice.
  i64 input = 0;
  i64 expected = 0;
  i64 maximum = 0;
  i64 first_hold = 0;
  Timestamp expires;  // Whole milliseconds.
};

// Canonical text, newline at the end. REQUIRES: names as receipts have them.
std::string to_text(const Quote& quote);
// Accepts exactly what to_text writes.
Result<Quote> parse_quote(std::string_view text);

// The signed note, base64 in one line, as headers carry it.
std::string sign(const Quote& quote, const tlog::NoteSigner& signer);
// kInvalid, saying why, unless `key` signed it and `now` is not past its end.
Result<Quote> open_quote(std::string_view token, const tlog::VerifierKey& key, Timestamp now);

}  // namespace tg::gateway
