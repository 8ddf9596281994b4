// One completion request being served: its runs (one per choice), what suppliers have said about
// them, what is ready to be written, and how it ends. Single-threaded; the coroutines that drive it
// are in completions.cc.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "gateway/choice.h"
#include "gateway/net/admitted.h"
#include "gateway/net/boxed.h"
#include "gateway/net/gateway_state.h"
#include "gateway/prompt.h"
#include "gateway/reply.h"
#include "text/reply_parser.h"

namespace tg::gateway {

// Tokens whose text the reply's parser still holds; they count once it has decided up to `end`.
struct HeldTokens {
  i64 end = 0;
  i64 tokens = 0;
};

// One metered continuation of one prompt.
struct Run {
  u64 id = 0;              // The supplier's name for it.
  std::size_t prompt = 0;  // Index into the job's prompts.
  i64 number = 0;          // Among the choices of its prompt.
  i64 index = 0;           // In the reply.
  Choice choice;
  ReplyParser parser;
  u128 hold = 0;
  bool has_hold = false;
  bool wants_vector = false;
  f64 logprob_sum = 0;  // Of its tokens.
  bool is_submitted = false;
  bool is_cancel_sent = false;
  bool is_echoed = false;  // The prompt that the reply begins with, if any, is in it.
  bool is_ended = false;   // Its finish is written or noted.
  // What is paid for (billing.h): no token beyond `edge` is let through.
  i64 edge = 0;
  bool is_edge_final = false;
  bool is_out_of_funds = false;  // It ended there.
  i64 reported = 0;              // Tokens that billing was last told of.
  i64 reported_ns = 0;           // Monotonic.
  i64 tokens_in_output = 0;      // Stream: waiting in `output`.
  i64 delivered = 0;
  i64 text_bytes = 0;  // Of the choice's text, given to the parser.
  std::vector<HeldTokens> held;
  i64 reasoning_tokens = 0;
  // What it says, for the receipt: reasoning, text and calls' arguments, in the order they came.
  std::string said;
  std::vector<ReplyBlock> blocks;    // Whole replies gather their parts here.
  std::vector<TokenReport> reports;  // Those not written yet; of whole replies all.
  i64 text_offset = 0;               // Characters written to the stream.
  i64 calls = 0;                     // Begun.
  std::string call_id;               // Of the last one.
  i64 first_token_ns = 0;            // Monotonic; 0 = none yet.
  i64 last_token_ns = 0;
  Outcome outcome = Outcome::kRejected;
  Settlement settlement;
};

struct Exchange {
  // Enters itself into the state's registries and leaves them when destroyed.
  Exchange(GatewayState& gateway, Connection& client, Job what, KeyInfo who);
  ~Exchange();
  Exchange(const Exchange&) = delete;
  Exchange& operator=(const Exchange&) = delete;

  // From the pump. A client too far behind its supplier loses its connection.
  void deliver(fleet::SupplierEvent event, i64 pending_max);

  // How far a run is paid for now.
  void note_edge(const EdgeNotice& notice);
  // Tells billing how far runs are, where it needs to know: not at every token.
  void report_progress();
  // Hands every run to the supplier; the refusal if it takes one not.
  std::optional<ApiError> submit();
  // Turns waiting events into text, and for streams into output. True if there were any.
  bool take_events();
  // Looks for reasons to end early and then aborts.
  void check_abort();
  // Cancels what still runs; the first reason stands. `error` is for the client, if it can be told.
  void abort(Outcome outcome, std::optional<ApiError> error);
  // All submitted runs have had the supplier's last word.
  bool is_all_finished() const;
  bool is_aborted() const { return aborted.has_value(); }
  // Something for a client that is still there; after a supplier's failure too: it was produced.
  bool has_output() const { return !output.empty() && !is_disconnected && !is_overrun; }
  bool is_stream() const { return job.request.is_stream; }
  // `output` went to the socket: its tokens are delivered.
  void confirm_output();
  // Fixes every run's outcome and delivered count. Call once, when nothing more will come.
  void conclude();
  UsageReport usage() const;
  // Writes what begins a stream, once; before anything else of it.
  void begin_stream();
  // REQUIRES: concluded without error, not a stream.
  std::string reply();
  void record_metrics() const;
  // What counts against its limits and what telemetry and the log say of it; once settled.
  void record_use();

  GatewayState& state;
  Connection& connection;
  Job job;
  KeyInfo key;
  std::string reply_id;
  std::optional<meter::Content> sent;  // the request's body
  std::unique_ptr<ReplyWriter> writer;
  std::unique_ptr<Admission> admission;  // Null until its limits have let it pass.
  std::shared_ptr<Once> once;            // Null without an idempotency key.
  Turn turn;
  std::vector<AccountRef> budgets;  // That its holds count against.
  std::vector<Run> runs;
  std::vector<fleet::SupplierEvent> events;  // Not taken yet.
  asio::steady_timer signal;                 // Cancelled whenever there is news.
  bool is_routed = false;  // A router has said who serves: it is in the reply's head.

  std::string output;     // Stream: events not written yet.
  bool is_begun = false;  // Stream: the writer has begun.
  bool is_head_written = false;
  bool is_disconnected = false;  // The client closed its end.
  bool is_overrun = false;       // The client reads too slowly.
  bool is_stopped = false;       // The server stops.
  bool is_watched = false;       // Somebody looks whether the client is still there.
  bool is_done = false;          // For the watcher: look no more.
  std::optional<Outcome> aborted;
  Boxed<ApiError> error;

  Timestamp started;
  i64 started_ns = 0;         // Monotonic, as all below.
  i64 first_delivery_ns = 0;  // After started; 0 = none.
  i64 news_ns = 0;            // Last supplier event.
  i64 written_ns = 0;         // Last write.
  i64 aborted_ns = 0;

 private:
  void add_runs();
  Run& run_of(u64 id);
  void note_tokens(Run& run, i64 count);
  void write_delta(Run& run);
  void release_tokens(Run& run);
  void write_part(Run& run, const ReplyPart& part);
  void end_run(Run& run);
  std::vector<const Run*> best_runs() const;
  void cancel(Run& run);
  bool take_event(const fleet::SupplierEvent& event);
  void end_of_funds(Run& run);
  ModelMetrics& metrics() const;
  Tended* tended() const;
};

}  // namespace tg::gateway
