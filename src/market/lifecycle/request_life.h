// One request's money, from quote to release (money.md §5.4): a state machine that is told what
// happened and says which linked transfers the ledger must apply next. It waits for nothing, reads
// no clock and holds no account; the ledger's answers are events like any other.
//
//   charged <= authorised <= max_cost (I-13), whatever other requests do to the same accounts,
//   because every amount above what is posted is a hold that the ledger has granted.
//
// While tokens flow, a slice posts only what no outcome takes back: the delivered output. The input
// stays held until the end, when the outcome decides about it. So a crash or a seller's fault needs
// no refund: what was posted is what was delivered (I-15).
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "market/funding/hold_plan.h"
#include "market/lifecycle/outcome_rule.h"

namespace tg::market {

enum class HoldMode : u8 {
  kSliced,      // Input and a slice of output at a time; generation pauses at the edge.
  kGuaranteed,  // All of it, up to max_cost, before the first token.
  kBestEffort,  // Input only; the seller generates ahead of the holds at its own risk.
};

std::string_view name(HoldMode mode);  // "sliced", "guaranteed", "best_effort"
std::optional<HoldMode> hold_mode_by_name(std::string_view name);

inline constexpr i64 kQuoteValidNs = 30'000'000'000;
// A slice reaches this far ahead at the speed seen so far.
inline constexpr i64 kSliceAheadNs = 3'000'000'000;
// A slice is refreshed when at most this part of it remains.
inline constexpr i64 kRefreshDivisor = 4;
// A hold is renewed after this long without a refresh; the ledger releases it after twice that.
inline constexpr i64 kHoldRenewNs = 30'000'000'000;
inline constexpr u32 kHoldLapsesMs = 60'000;
// Plans that one view change may cost before the edge is taken as final for now.
inline constexpr u32 kPlanAttemptsMax = 4;

struct LifeTerms {
  HoldTerms hold;  // timeout_ms is set by the life.
  std::string model;
  std::string service;
  HoldMode mode = HoldMode::kSliced;
  i64 max_cost = 0;   // Hard; in the unit of the prices.
  i64 slice_min = 1;  // Least growth of a hold: 256 ST at the request's prices.
  // Whether it ends by itself once all that can be paid was delivered; else who owns it sees
  // is_edge_final() and says so with finish().
  bool ends_at_edge = true;
};

struct LifeQuote {
  i64 input = 0;     // If the prompt is served at the dearest class.
  i64 expected = 0;  // With the expected output.
  i64 maximum = 0;   // With all of it; never more than max_cost is taken.
  i64 first_hold = 0;
  i64 edge_max = 0;  // Output tokens that max_cost can pay.
  PriceViews views;  // Of `expected`.
  Timestamp expires;
};
LifeQuote quote_life(const LifeTerms& terms, const RequestRate& rate, i64 output_expected,
                     Timestamp now);

class RequestLife {
 public:
  enum class State : u8 { kQuoted, kOpen, kClosed };
  struct View {
    const FundingView& funding;
    Timestamp now;
  };

  // REQUIRES: max_cost >= 0, slice_min > 0.
  RequestLife(LifeTerms terms, RequestRate rate);

  // Every event returns the chain to submit, or nothing. While one is with the ledger (`waits()`),
  // events are kept and no second chain is made.

  // Reserves; refused (closed) if the view cannot pay for one token. REQUIRES: kQuoted, called
  // once.
  Chain open(const View& view);
  // The ledger's answer to the chain last returned. An unknown answer is no answer: submit
  // in_flight() again, its ids make that safe. REQUIRES: waits(), one status per transfer.
  Chain answer(std::span<const ledger::TransferStatus> statuses, const View& view);
  // How the prompt was served; the last reading before the end counts. REQUIRES: the quoted prompt.
  void input_read(const InputReading& input);
  // New prices, found by the caller when price_locked_until() has passed; `reference` is that of
  // the card they are from. What was produced keeps its price. A rise lowers edge(), but not below
  // what was produced: what a supplier does beyond it in the meantime is its own loss. max_cost
  // stays. Prices that cannot be rated are not taken.
  Chain reprice(const PriceVector& prices, u64 reference, const View& view);
  // Cumulative; a reading below an earlier one is ignored. Production may run to edge() and no
  // further; what is produced or delivered beyond it is never charged (except for the best effort,
  // where it is charged as far as holds follow).
  Chain produced(const OutputReading& reading, const View& view);
  Chain delivered(const OutputReading& reading, const View& view);
  // Renews holds; call at least every second.
  Chain tick(const View& view);
  // The request ends. kStop and kLength wait for what was produced to be delivered; the others
  // close at once. Later causes follow `prevailing`.
  Chain end(EndCause cause, const View& view);
  // The last word: everything that was delivered, how the prompt was served, and why it ended. No
  // more will be delivered, whatever was produced; no slice is rolled for it. REQUIRES: a possible
  // reading of the quoted prompt.
  struct Final {
    InputReading input;
    OutputReading delivered;
    EndCause cause = EndCause::kStop;
  };
  Chain finish(const Final& last, const View& view);

  State state() const { return state_; }
  bool waits() const { return flight_.has_value(); }
  bool is_closed() const { return state_ == State::kClosed; }
  const Chain& in_flight() const { return flight_->chain; }
  // Output tokens, reasoning included, that may be produced by now. 0 until a hold is granted.
  i64 edge() const { return edge_; }
  i64 authorised() const { return authorised_; }
  i64 posted() const { return posted_; }
  // True if edge() can move no further: all of the output, max_cost or the accounts end there.
  bool is_edge_final() const;
  // It ends there because the accounts do, as far as the view told.
  bool lacks_funds() const;
  u32 slices() const { return slice_; }
  const RequestRate& rate() const { return rate_; }
  const LifeTerms& terms() const { return terms_; }
  std::span<const HeldPart> parts() const { return parts_; }
  // The first transfer that held anything; 0 if nothing was to be held.
  u128 first_hold() const { return first_hold_; }
  const InputReading& input() const { return input_; }
  const OutputReading& delivered() const { return delivered_; }

  // The chain in flight is the last one. What it comes to if the ledger takes it is already known:
  // a document that says so can be stored with it.
  bool is_settling() const;
  struct Bill {
    i64 charge = 0;
    i64 authorised = 0;
    std::vector<Draw> paid;
  };
  // With the chain in flight, if there is one, as if the ledger had taken it. Of one that is to go
  // on, what it would come to if nothing followed: what a crash leaves. Its `authorised` is then
  // its charge.
  Bill bill() const;
  // What the chain in flight posts.
  i64 posting() const { return flight_ ? flight_->post : 0; }

  // REQUIRES: an end has come. Of `charge()`, `paid()`: is_closed(); charge() is posted(), of which
  // each account paid `paid()`.
  meter::Outcome outcome() const;
  i64 charge() const;
  Charged paid() const;
  PriceViews views() const;
  // True if a hold lapsed before it was posted: the seller bears what was delivered under it.
  bool has_lapsed() const { return has_lapsed_; }

 private:
  enum class Kind : u8 { kOpen, kRoll, kClose, kDrop };
  struct Flight {
    Kind kind = Kind::kOpen;
    Chain chain;
    std::vector<HeldPart> parts;  // What is held if it succeeds.
    std::vector<Draw> paid;
    i64 post = 0;
    i64 sent_ns = 0;
  };

  Chain launch(Flight flight, const View& view);
  Chain refuse();
  Chain proceed(const View& view);
  Chain roll(const View& view, bool grows);
  Chain close(const View& view);
  Chain drop(const View& view);
  void land(const Flight& flight);
  Chain crash_land(const Flight& flight, ledger::TransferStatus status, const View& view);
  std::vector<Draw> plan(const View& view, i64 extra, std::span<const Draw> held) const;
  i64 opening_target() const;
  i64 opening_least() const;
  i64 slice_amount(const View& view) const;
  bool needs_growth(const View& view) const;
  bool needs_renewal(const View& view) const;
  bool is_closing() const;
  bool is_ready_to_close() const;
  bool is_at_final_edge() const;
  i64 seen() const;
  void find_edge();

  LifeTerms terms_;
  RequestRate rate_;
  i64 cap_ = 0;  // min(max_cost, most the request can cost)

  State state_ = State::kQuoted;
  std::optional<Flight> flight_;
  std::vector<HeldPart> parts_;
  std::vector<Draw> paid_;
  i64 posted_ = 0;
  i64 authorised_ = 0;  // posted_ + what parts_ hold
  i64 slice_growth_ = 0;
  u32 slice_ = 0;
  u32 attempt_ = 0;
  u32 refusals_ = 0;  // In a row, since the last event from outside.
  i64 edge_ = 0;
  i64 held_at_ns_ = 0;
  i64 first_token_ns_ = 0;

  InputReading input_;
  OutputReading produced_;
  OutputReading delivered_;
  EndCause cause_ = EndCause::kNone;
  bool was_admitted_ = false;
  bool funds_ended_ = false;
  bool has_lapsed_ = false;
  u128 first_hold_ = 0;
};

}  // namespace tg::market
