// The receipt of one request: integers, in one canonical text that is committed to a log, stored
// and forwarded verbatim (money.md §5.9). A buyer recomputes nominal work from it and the program's
// cost matrix alone.
//
// A receipt is written twice. What settles a request writes a draft, which becomes durable with the
// ledger transfer that it bills; what keeps the log reads drafts in the ledger's order and makes
// pages of them: numbered without gaps, with the meter's registers before and after. So a page
// cannot exist without its transfer, or miss, or be numbered twice, whatever crashes when.
#pragma once

#include <array>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/hash.h"
#include "base/result.h"
#include "env/clock.h"
#include "meter/outcome.h"
#include "meter/price_vector.h"
#include "tlog/suite.h"
#include "unit/cost_matrix.h"
#include "unit/usage.h"

namespace tg::meter {

inline constexpr i64 kChoicesMax = 128;
inline constexpr std::size_t kReceiptTextMax = 16'384;
// Prices that one request may live through, and accounts that may pay for it.
inline constexpr i64 kPriceSegmentsMax = 16;
inline constexpr i64 kPaymentsMax = 64;

// What a meter has counted since it was made, like the dial of an electricity meter: it only grows.
struct Registers {
  u128 nominal_nst = 0;
  u128 billed = 0;
  u128 prompt_tokens = 0;
  u128 cached_tokens = 0;
  u128 output_tokens = 0;
  friend bool operator==(const Registers&, const Registers&) = default;
};

// A secret of one receipt, known to its buyer: without it nothing public can be tested against a
// guess of what was asked or answered.
using Salt = std::array<u8, 32>;
using Nonce = std::array<u8, 16>;

// Which bytes were asked and answered, said only to who has the salt: bound_bytes() of each. Asked
// is the body of the request as it came; answered is what the choice says: its reasoning, text and
// calls' arguments in the order they came, as UTF-8, so of a plain reply its text. Empty: this edge
// did not keep it, or the reply was broken off.
struct Binding {
  std::optional<tlog::Hash> input;
  i64 input_bytes = 0;
  std::optional<tlog::Hash> output;
  i64 output_bytes = 0;
};

// Bytes of a request or an answer, by the suite's hash.
struct Content {
  tlog::Hash digest{};
  i64 bytes = 0;
};

// From these registers on, these prices: the output apart from its reasoning.
struct PriceSegment {
  i64 output_from = 0;
  i64 reasoning_from = 0;
  PriceVector prices;
  friend bool operator==(const PriceSegment&, const PriceSegment&) = default;
};

// What one ledger account paid.
struct Payment {
  u128 account = 0;
  i64 amount = 0;
  friend bool operator==(const Payment&, const Payment&) = default;
};

// How a version 3 receipt is priced: which rate card, and what it said for this request. Amounts of
// the receipt are nano-ST, or 1e-6 credit if `in_money`. Of the second and later choices of a
// request the prompt's classes are free: the first has paid for it.
struct Pricing {
  std::string card;
  u64 version = 0;
  bool in_money = false;
  Digest digest{};                     // of the card's canonical text
  std::vector<PriceSegment> segments;  // not empty; the first from 0
};

// Versions 1 (a text signed by itself) and 2 (one hold, one capture, a factor on nominal work) are
// read, not written. Fields marked (2) are in versions 2 and 3, those marked (3) in 3 alone.
struct Receipt {
  i64 version = 2;
  std::string log;                                  // the operator's name
  tlog::Suite suite = tlog::Suite::kEd25519Sha256;  // (2)
  std::string meter;                                // which meter made it
  std::string device;                               // what ran it, "cpu avx512"
  u64 page = 0;                                     // (2) from 1 on, without gaps in a meter's log
  Nonce nonce{};  // (2) nonce_of(salt): keeps the text's hash from being guessed
  u128 request = 0;
  u128 buyer = 0;   // ledger account charged
  u128 seller = 0;  // ledger account credited
  std::string model;
  Digest program{};    // id of the program whose cost matrix prices it
  std::string tariff;  // versions 1, 2: "list/1"
  u64 factor_ppm = 0;  // versions 1, 2: billed = min(floor(billable * factor_ppm / 10^6), held)
  i64 choice = 0;      // (3) of the request, from 0
  bool is_embedding = false;  // (3) prefill alone: the output is one vector, of no tokens
  Pricing pricing;            // (3)
  Timestamp time;             // end of the request, milliseconds kept
  Registers begin;            // (2) of the meter, before this request
  Registers end;              // (2) and after
  i64 prompt_tokens = 0;
  i64 cached_tokens = 0;
  i64 written_tokens = 0;          // (3) of the prompt, to a cache that is priced apart
  std::vector<i64> output_tokens;  // delivered, one per choice; (3) one; an embedding's: 1 or 0
  i64 reasoning_tokens = 0;        // (3) of the output
  bool is_estimated = false;       // (3) the supplier's own figures, or work that was predicted
  u32 usage_flags = 0;             // (3) what was odd in them (market/usage/token_usage.h)
  Outcome outcome = Outcome::kCompleted;
  i64 nominal_nst = 0;  // of what was delivered
  i64 input_nst = 0;
  i64 output_nst = 0;
  i64 billable_nst = 0;  // by the outcome table
  i64 actual_nst = 0;    // the request's share of the engine's actual work
  i64 billed = 0;        // posted to the ledger
  i64 steps = 0;
  i64 device_us = 0;  // its share of wall time
  i64 queue_us = 0;
  i64 first_token_us = 0;
  i64 total_us = 0;
  u128 hold = 0;              // ledger transfer that reserved first; 0: nothing was to be held
  i64 held = 0;               // and how much; (3) the most that all slices together had authorised
  u128 post = 0;              // versions 1, 2: the transfer that captured; 0: the hold was voided
  std::string mode;           // (3) how it was held: sliced, guaranteed, best_effort
  i64 max_cost = 0;           // (3) the buyer's own limit
  i64 slices = 0;             // (3) how often the hold was rolled on
  std::vector<Payment> paid;  // (3) in the order they paid; sums to billed
  Binding binding;            // (2)
};

// Canonical text of its version, newline at the end. Names must be free of spaces and control
// characters (asserted).
std::string to_text(const Receipt& receipt);
// Accepts exactly what to_text writes; the error names the line. kLimit above kReceiptTextMax.
Result<Receipt> parse_receipt(std::string_view text);

// A receipt before it is a page: log, meter, page, nonce and registers are left out, the salt is
// in. Never shown to anyone.
struct Draft {
  Receipt receipt;
  Salt salt{};
  // (3) Whose use it was, for the operator's own reports; "-": nobody's.
  std::string key = "-";
  std::string project = "-";
};
std::string to_text(const Draft& draft);
// kTrusted: whoever reads only adds up or writes it anew, and has what to_text() wrote from a store
// that checks its bytes; that the text is the canonical one is not looked at, which takes as long
// as the rest.
enum class Canon : u8 { kChecked, kTrusted };
Result<Draft> parse_draft(std::string_view text, Canon canon = Canon::kChecked);

// Tokens alone: a vector is none.
i64 output_tokens(const Receipt& receipt);

// The registers after `receipt`; nullopt if 128 bits do not hold them.
std::optional<Registers> advance(const Registers& before, const Receipt& receipt);

// min(floor(billable * factor_ppm / 10^6), held): nobody pays more than was reserved. REQUIRES:
// amounts >= 0.
i64 billed_amount(i64 billable_nst, u64 factor_ppm, i64 held);

// What version 3 charges by its outcome, before it is cut to what was authorised. kInvalid or
// kLimit if the readings cannot be rated.
Result<i64> charge_of(const Receipt& receipt, const unit::CostMatrix& cost);

// Recomputes nominal, billable and billed from the readings; an error names the first figure that
// differs. Version 3: also that the payments are the bill, within what was authorised and max_cost.
Status check_arithmetic(const Receipt& receipt, const unit::CostMatrix& cost);

// kCorrupt unless `end` is `begin` plus this request; of versions 2 and 3.
Status check_registers(const Receipt& receipt);
// kCorrupt unless `later` continues `earlier`: of the same meter, with registers equal if it is the
// next page, and nowhere smaller if it comes after more.
Status check_continuity(const Receipt& earlier, const Receipt& later);

// First 16 bytes of HMAC(salt, "tokengrid nonce").
Nonce nonce_of(tlog::Hasher& hasher, const Salt& salt);
// HMAC(salt, label || H(bytes)), label "in:" or "out:"; of the bytes, or of their H.
enum class Side : u8 { kInput, kOutput };
tlog::Hash bound_digest(tlog::Hasher& hasher, const Salt& salt, Side side,
                        const tlog::Hash& digest);
tlog::Hash bound_bytes(tlog::Hasher& hasher, const Salt& salt, Side side, std::string_view bytes);

// What a receipt says of contents, each unless absent.
Binding bind(tlog::Suite suite, const Salt& salt, const std::optional<Content>& sent,
             const std::optional<Content>& received);

// A name as receipts carry it: anything but letters, digits and "-_.:/@" becomes '_', cut at 128
// bytes, never empty.
std::string receipt_name(std::string_view text);

}  // namespace tg::meter
