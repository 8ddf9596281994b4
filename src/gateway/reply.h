// What a reply consists of, before any API's way of writing it: blocks of text, reasoning and
// calls, why it ended, what it used. A ReplyWriter turns that into one API's bytes; one object
// writes one reply, whole or as a stream. No sockets here, and no money: the lifecycle is net/'s.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "gateway/api_error.h"
#include "gateway/choice.h"
#include "gateway/completion_request.h"
#include "market/rating/price_vector.h"
#include "meter/outcome.h"
#include "text/reply_parser.h"

namespace tg::gateway {

struct ReplyBlock {
  ReplyPart::Kind kind = ReplyPart::Kind::kText;
  std::string text;  // Text, reasoning, or a call's arguments.
  std::string name;  // A call's.
  std::string id;    // A call's.
};

// Appends to the last block or begins a new one. `id`: of a new call.
void add_part(std::vector<ReplyBlock>& blocks, const ReplyPart& part, std::string_view id);
// The texts of all blocks of one kind, joined.
std::string joined(const std::vector<ReplyBlock>& blocks, ReplyPart::Kind kind);

struct Finish {
  // kBudget: all that could be paid for is there. APIs without a word for it call it length.
  enum class Reason : u8 { kStop, kStopString, kLength, kToolCalls, kBudget };
  Reason reason = Reason::kStop;
  std::string stop = {};  // kStopString: which.
};
// More would have come: of tokens asked for, or paid for.
constexpr bool is_cut(const Finish& finish) {
  return finish.reason == Finish::Reason::kLength || finish.reason == Finish::Reason::kBudget;
}
// OpenAI's word for it.
std::string_view finish_reason(const Finish& finish);

struct UsageReport {
  i64 prompt_tokens = 0;
  i64 completion_tokens = 0;
  i64 cached_tokens = 0;     // Of the prompt.
  i64 reasoning_tokens = 0;  // Of the completion.
  i64 nominal_nst = 0;
  i64 charged = 0;  // nano-ST, or 10^-6 credit if `in_money`.
  bool in_money = false;
  i64 value_ucredit = 0;                               // The charge, at list price if it is in ST.
  market::PriceViews views;                            // Of one choice's; both empty for several.
  meter::Outcome outcome = meter::Outcome::kRejected;  // The last choice's.
  i64 first_token_ns = 0;                              // After the request was read; 0 = none came.
  i64 total_ns = 0;
  i64 energy_uj = 0;  // Of the device, as far as its supplier knows.
  bool is_energy_measured = false;
  std::vector<std::string> receipt_ids;  // One per choice.
};

// What does not change within a reply.
struct ReplyHead {
  Api api = Api::kChat;
  std::string id;
  i64 created = 0;  // Unix seconds
  std::string model;
  std::string fingerprint;     // Names the program that ran.
  bool include_usage = false;  // OpenAI streams: other chunks carry "usage": null.
  bool has_logprobs = false;
  i64 prompt_tokens = 0;
};

// A piece of one choice of a stream.
struct StreamPart {
  i64 index = 0;  // The choice's.
  const ReplyPart& part;
  std::string_view call_id;                           // Of a call.
  i64 call_index = 0;                                 // Of a call, among the choice's.
  const std::vector<TokenReport>* reports = nullptr;  // Not null if head.has_logprobs.
  i64 text_offset = 0;                                // Characters of this choice before the part.
};

struct WholeChoice {
  i64 index = 0;
  const std::vector<ReplyBlock>* blocks = nullptr;    // Not null.
  const std::vector<TokenReport>* reports = nullptr;  // Not null.
  Finish finish;
  const std::vector<f32>* embedding = nullptr;  // Not null if a vector was asked for.
};

class ReplyWriter {
 public:
  virtual ~ReplyWriter() = default;

  // Streams: whole events are appended to `out`. begin, then parts and one end of every choice,
  // then either end or fail.
  virtual std::string_view stream_type() const = 0;
  virtual void begin(std::string& out) = 0;
  virtual void part(std::string& out, const StreamPart& part) = 0;
  virtual void end_choice(std::string& out, i64 index, const Finish& finish, i64 text_offset) = 0;
  virtual void end(std::string& out, const UsageReport& usage) = 0;
  virtual void fail(std::string& out, const ApiError& error) = 0;
  // Keeps a silent stream alive. Only after begin.
  virtual void ping(std::string& out) = 0;

  virtual std::string whole(const std::vector<WholeChoice>& choices, const UsageReport& usage) = 0;

  // Of an ended reply, for keeping it; nothing for APIs that keep none.
  virtual std::string final_json() const { return ""; }
  virtual std::vector<ReplyBlock> final_blocks() const { return {}; }
};

// The writer of the request's API. Borrows nothing.
std::unique_ptr<ReplyWriter> make_writer(const CompletionRequest& request, ReplyHead head);

// What "usage" carries of ours, as an object: nominal work and receipts.
std::string tokengrid_json(const UsageReport& usage);

}  // namespace tg::gateway
