#include "gateway/net/exchange.h"

#include <fmt/format.h>

#include <algorithm>
#include <iterator>
#include <utility>

#include "base/log.h"
#include "gateway/net/mail.h"
#include "gateway/net/tending.h"
#include "gateway/reply_json.h"

namespace tg::gateway {
namespace {

// Room that is kept for all streams.
constexpr std::size_t kSparesMax = 64;
constexpr std::size_t kEventsKept = 16;
constexpr std::size_t kOutputBytesKept = 16 * 1'024;

Finish finish_of(const Run& run, const std::vector<std::string>& stops) {
  using Reason = Finish::Reason;
  const Choice& choice = run.choice;
  if (choice.stop_index() >= 0) {
    return {.reason = Reason::kStopString,
            .stop = stops[static_cast<std::size_t>(choice.stop_index())]};
  }
  if (run.is_out_of_funds) return {.reason = Reason::kBudget};
  bool is_cut = !choice.is_stopped() && choice.finished().reason != fleet::FinishReason::kStop;
  if (is_cut) return {.reason = Reason::kLength};
  return {.reason = run.calls > 0 ? Reason::kToolCalls : Reason::kStop};
}

// The supplier ended the run without being asked to.
bool is_supplier_fault(const Run& run) {
  if (!run.choice.is_finished() || run.choice.is_stopped()) return false;
  fleet::FinishReason reason = run.choice.finished().reason;
  if (reason == fleet::FinishReason::kError) return true;
  bool has_vector = !run.choice.finished().embedding.empty();
  if (run.wants_vector && reason == fleet::FinishReason::kStop && !has_vector) return true;
  return reason == fleet::FinishReason::kCancelled && !run.is_cancel_sent;
}

// For best_of.
void note_likelihood(Run& run, const fleet::SupplierEvent& event) {
  for (const fleet::TokenLogprob& token : event.logprobs) {
    run.logprob_sum += static_cast<f64>(token.logprob);
  }
}

Outcome natural_outcome(const Run& run) {
  const Choice& choice = run.choice;
  if (run.is_out_of_funds) return Outcome::kBudget;
  if (choice.is_stopped()) return Outcome::kCompleted;
  if (!choice.finished().embedding.empty()) return Outcome::kCompleted;
  if (choice.finished().reason == fleet::FinishReason::kLength) return Outcome::kLength;
  return choice.has_text() ? Outcome::kCompleted : Outcome::kEmpty;
}

ApiError supplier_failed() {
  return {.status = 502,
          .type = "server_error",
          .message = "the supplier of this model failed",
          .code = "supplier_error"};
}

ApiError from_submit(const Error& error) {
  if (error.code == Code::kUnavailable) return overloaded("the model's queue is full");
  if (error.code == Code::kInvalid || error.code == Code::kLimit) {
    return invalid_value("", error.message);
  }
  if (error.code == Code::kUnsupported) return unsupported("", error.message);
  log_error("gateway", "a supplier refused a request: {}", error.message);
  return supplier_failed();
}

// A router whose suppliers are all busy or gone says so; one that has none for such a request too.
ApiError from_fault(const fleet::SupplierEvent& last) {
  bool is_fault = last.reason == fleet::FinishReason::kError;
  if (is_fault && last.fault == fleet::Fault::kBusy) {
    ApiError busy = overloaded("no supplier of this model is free");
    busy.retry_after_s = 1;
    return busy;
  }
  if (is_fault && last.fault == fleet::Fault::kInvalid) return invalid_value("", last.error);
  return supplier_failed();
}

std::string_view id_prefix(Api api) {
  switch (api) {
    case Api::kChat: return "chatcmpl-";
    case Api::kCompletions: return "cmpl-";
    case Api::kMessages: return "msg_";
    case Api::kResponses: return "resp_";
    case Api::kOllamaChat:
    case Api::kOllamaGenerate: return "gen_";
    case Api::kEmbeddings:
    case Api::kOllamaEmbed:
    case Api::kOllamaEmbeddings: return "embd-";
  }
  return "";
}

ReplyHead make_head(const GatewayState& state, const Job& job, std::string id) {
  ReplyHead head{.api = job.request.api,
                 .id = std::move(id),
                 .created = state.clock.now().ns / 1'000'000'000,
                 .model = job.model->id,
                 .fingerprint = "fp_" + job.model->program.substr(0, 12),
                 .include_usage = job.request.include_usage,
                 .has_logprobs = job.request.sampling.logprobs >= 0};
  for (const PreparedPrompt& prompt : job.prompts) {
    head.prompt_tokens += static_cast<i64>(prompt.ids.size());
  }
  return head;
}

// What only prompt and writer are made of; a stream would hold on to it.
void forget_text(CompletionRequest& request) {
  for (Message& message : request.messages) message = {};
  request.messages.resize(std::min<std::size_t>(request.messages.size(), 1));
  request.messages.shrink_to_fit();
  for (PromptInput& prompt : request.prompts) prompt = {};
  for (Tool& tool : request.tools) tool = {};
  request.template_variables = {};
}

std::string new_call_id(GatewayState& state, const Job& job) {
  constexpr std::size_t kShort = 9;
  constexpr std::size_t kLong = 24;
  std::string_view prefix = job.request.api == Api::kMessages ? "toolu_" : "call_";
  std::string digits = new_id(state, "");
  if (job.model->format.wants_short_call_ids) return digits.substr(0, kShort);
  return std::string(prefix) + digits.substr(0, kLong);
}

}  // namespace

Exchange::Exchange(GatewayState& gateway, Connection& client, Job what, KeyInfo who)
    : state(gateway),
      connection(client),
      job(std::move(what)),
      key(std::move(who)),
      reply_id(new_id(gateway, id_prefix(job.request.api))),
      writer(make_writer(job.request, make_head(gateway, job, reply_id))),
      signal(gateway.io) {
  started = state.clock.now();
  started_ns = state.clock.monotonic_ns();
  news_ns = started_ns;
  written_ns = started_ns;
  is_stopped = state.is_cancelling;
  for (PreparedPrompt& prompt : job.prompts) prompt.count = static_cast<i64>(prompt.ids.size());
  forget_text(job.request);
  add_runs();
  state.exchanges.insert(this);
  ++state.open_by_key[key.id];
  ++state.metrics.requests_open;
}

Exchange::~Exchange() {
  for (const Run& run : runs) state.exchange_by_run.erase(run.id);
  state.exchanges.erase(this);
  --state.metrics.requests_open;
  if (--state.open_by_key[key.id] == 0) state.open_by_key.erase(key.id);
}

void Exchange::add_runs() {
  Choice::Options options;
  options.stop = job.request.stop;
  options.ignore_eos = job.request.ignore_eos;
  options.continues_text = !job.request.is_chat();
  options.shown = job.model->markers;
  if (!job.request.is_chat()) options.shown.clear();
  for (std::size_t prompt = 0; prompt < job.prompts.size(); ++prompt) {
    for (i64 number = 0; number < job.request.candidates(); ++number) {
      runs.push_back(Run{.id = state.id_next++,
                         .prompt = prompt,
                         .number = number,
                         .index = static_cast<i64>(runs.size()),
                         .choice = Choice(*job.model->tokenizer, options),
                         .parser = ReplyParser(job.reply),
                         .wants_vector = job.request.embedding.has_value()});
      Run& run = runs.back();
      run.parser.push(job.reply_prefix);
      run.text_bytes = static_cast<i64>(job.reply_prefix.size());
      state.exchange_by_run.emplace(runs.back().id, this);
    }
  }
  if (!job.request.has_seed) job.request.sampling.seed = state.random.next_u64();
}

void Exchange::deliver(fleet::SupplierEvent event, i64 pending_max) {
  if (static_cast<i64>(events.size()) >= pending_max && !is_overrun) {
    is_overrun = true;
    // Ends the write that is stuck.
    error_code ignored;
    connection.transport.socket().close(ignored);
  }
  // The last word is kept whatever happens: it carries the usage.
  bool is_last = event.kind == fleet::SupplierEvent::Kind::kFinished;
  if (events.capacity() == 0 && !state.spare_events.empty()) {
    events = std::move(state.spare_events.back());
    state.spare_events.pop_back();
  }
  if (!is_overrun || is_last) events.push_back(std::move(event));
  signal.cancel();
}

std::optional<ApiError> Exchange::submit() {
  for (Run& run : runs) {
    PreparedPrompt& prompt = job.prompts[run.prompt];
    fleet::SupplyRequest request;
    request.id = run.id;
    bool is_last = run.number + 1 == job.request.candidates();
    request.prompt = is_last ? std::exchange(prompt.ids, {}) : prompt.ids;
    request.max_tokens = prompt.max_tokens;
    request.sampling = job.request.sampling;
    request.sampling.seed += static_cast<u64>(run.number);
    // All of it needs no word about funds.
    if (run.edge < request.max_tokens) {
      request.funded_tokens = run.edge;
      request.is_funding_final = run.is_edge_final;
    }
    // Told apart by their likelihoods, whether the client wants to see them or not.
    bool is_ranked = job.request.best_of > job.request.n;
    if (is_ranked) request.sampling.logprobs = std::max(request.sampling.logprobs, 0);
    request.cache_salt = static_cast<u64>(key.account >> 64) ^ static_cast<u64>(key.account);
    if (!job.request.ignore_eos) {
      request.stop_tokens = job.model->tokenizer->vocab().end_of_generation;
    }
    request.shape = job.shape;
    request.is_embedding = job.request.embedding.has_value();
    bool is_near = tended() != nullptr && tended()->is_borrowed;
    request.events = is_near ? state.near_events : state.supplier_events;
    request.service = key.standing->service;
    request.wishes = job.request.wishes;
    request.deadline_ns = job.request.ttft_target_ns;
    Status status = job.model->supplier->submit(std::move(request));
    if (!status.ok()) return from_submit(status.error());
    run.is_submitted = true;
    turn_soon(state, tended());
  }
  news_ns = state.clock.monotonic_ns();
  return std::nullopt;
}

// What its supplier lends, or null.
Tended* Exchange::tended() const {
  return state.tended_suppliers[static_cast<std::size_t>(job.model - state.models.data())];
}

Run& Exchange::run_of(u64 id) {
  TG_ASSERT(id >= runs.front().id && id <= runs.back().id);
  return runs[id - runs.front().id];
}

bool Exchange::take_events() {
  std::size_t taken = 0;
  if (output.empty()) output.swap(state.spare_output);
  while (taken < events.size() && take_event(events[taken])) ++taken;
  events.erase(events.begin(), events.begin() + static_cast<std::ptrdiff_t>(taken));
  if (events.empty() && events.capacity() > 0) {
    std::vector<fleet::SupplierEvent> room = std::exchange(events, {});
    bool is_kept = room.capacity() <= kEventsKept && state.spare_events.size() < kSparesMax;
    if (is_kept) state.spare_events.push_back(std::move(room));
  }
  if (output.empty()) output.swap(state.spare_output);
  bool has_taken = taken > 0;
  // Not only then: who is paused for funds brings no token that would remind us.
  report_progress();
  return has_taken;
}

// False if its tokens are not paid for yet: they wait until the edge has moved. A supplier that
// knows of funds never gets so far.
bool Exchange::take_event(const fleet::SupplierEvent& event) {
  Run& run = run_of(event.request);
  // A supplier that goes on after its last word is not listened to.
  if (run.choice.is_finished()) return true;
  if (!is_routed && !event.route.empty()) {
    is_routed = true;
    connection.extra_headers += "x-tokengrid-route: " + header_value(event.route) + "\r\n";
  }
  i64 room = run.edge - run.choice.tokens();
  bool is_beyond = static_cast<i64>(event.tokens.size()) > room && !run.choice.is_over();
  if (is_beyond && !run.is_edge_final && !is_aborted()) return false;
  news_ns = state.clock.monotonic_ns();
  i64 before = run.choice.tokens();
  if (is_beyond) {
    fleet::SupplierEvent paid = event;
    std::size_t count = static_cast<std::size_t>(std::max<i64>(0, room));
    paid.tokens.resize(count);
    paid.logprobs.resize(std::min(paid.logprobs.size(), count));
    paid.top_logprobs.resize(std::min(paid.top_logprobs.size(), count));
    note_likelihood(run, paid);
    run.choice.push(paid);
    end_of_funds(run);
  } else {
    note_likelihood(run, event);
    run.choice.push(event);
    bool has_ended = event.kind == fleet::SupplierEvent::Kind::kFinished &&
                     event.reason == fleet::FinishReason::kFunds;
    if (has_ended) run.is_out_of_funds = true;
    // Nobody has said that there are no more: waiting for that word is our duty.
    if (has_ended && !run.is_edge_final && !is_aborted()) {
      log_error("gateway", "{}: its supplier waited in vain for funds", connection.request_id);
      abort(Outcome::kSellerFault, internal_error("this request could not be paid for any longer"));
    }
  }
  note_tokens(run, run.choice.tokens() - before);
  write_delta(run);
  if (run.choice.is_stopped() && !run.choice.is_finished()) cancel(run);
  return true;
}

// The last token that is paid for has been let through.
void Exchange::end_of_funds(Run& run) {
  run.is_out_of_funds = true;
  run.choice.stop();
}

void Exchange::note_edge(const EdgeNotice& notice) {
  Run& run = run_of(notice.run);
  run.edge = std::max(run.edge, notice.edge);
  run.is_edge_final = notice.is_final;
  if (notice.is_lost && !run.choice.is_over()) {
    log_error("gateway", "{}: its hold was lost", connection.request_id);
    abort(Outcome::kSellerFault, internal_error("this request could not be paid for any longer"));
  }
  bool is_open = run.is_submitted && !run.choice.is_finished();
  i64 max_tokens = job.prompts[run.prompt].max_tokens;
  // Who cannot take more funds does not stop by itself either: take_event() sees to it.
  if (is_open) {
    (void)job.model->supplier->extend(run.id, std::min(run.edge, max_tokens), run.is_edge_final);
    turn_soon(state, tended());
  }
  signal.cancel();
}

// When half of what was ahead at the last report is used up, and every second.
void Exchange::report_progress() {
  constexpr i64 kEveryNs = 1'000'000'000;
  i64 now_ns = state.clock.monotonic_ns();
  for (Run& run : runs) {
    i64 seen = run.choice.tokens();
    if (!run.has_hold || seen <= run.reported || run.choice.is_finished()) continue;
    bool is_near = !run.is_edge_final && 2 * (run.edge - seen) <= run.edge - run.reported;
    if (run.reported_ns == 0) run.reported_ns = started_ns;
    if (!is_near && now_ns - run.reported_ns < kEveryNs) continue;
    BillingCommand command;
    command.what = HoldProgress{.hold = run.hold,
                                .produced_tokens = seen,
                                .delivered_tokens = run.delivered,
                                .reasoning_tokens = std::min(run.reasoning_tokens, run.delivered)};
    // A full inbox will hear of it with the next token.
    if (!submit_to_billing(state, command)) return;
    run.reported = seen;
    run.reported_ns = now_ns;
  }
}

void Exchange::note_tokens(Run& run, i64 count) {
  if (count <= 0) return;
  if (run.first_token_ns == 0) {
    run.first_token_ns = news_ns;
    metrics().time_to_first_token.observe_ns(news_ns - started_ns);
  } else {
    metrics().inter_token_latency.observe_ns((news_ns - run.last_token_ns) / count,
                                             static_cast<u64>(count));
  }
  run.last_token_ns = news_ns;
}

void Exchange::begin_stream() {
  if (is_begun) return;
  is_begun = true;
  writer->begin(output);
}

void Exchange::write_delta(Run& run) {
  if (is_aborted() || run.is_ended) return;
  Delta delta = run.choice.take();
  run.reports.insert(run.reports.end(), std::make_move_iterator(delta.reports.begin()),
                     std::make_move_iterator(delta.reports.end()));
  run.text_bytes += static_cast<i64>(delta.text.size());
  if (delta.tokens > 0) run.held.push_back({.end = run.text_bytes, .tokens = delta.tokens});
  run.parser.push(delta.text);
  if (run.parser.is_done() && !run.choice.is_stopped()) {
    run.choice.stop();
    run.held.push_back({.end = run.text_bytes, .tokens = run.choice.take().tokens});
  }
  bool is_end = run.choice.is_over() && !is_supplier_fault(run);
  if (is_end) run.parser.finish();
  if (run.parser.is_reasoning()) run.reasoning_tokens += delta.tokens;
  release_tokens(run);
  if (!run.is_echoed) {
    run.is_echoed = true;
    const std::string& echo = job.prompts[run.prompt].echo;
    if (!echo.empty()) write_part(run, {.text = echo});
  }
  for (const ReplyPart& part : run.parser.take()) {
    run.said += part.text;
    write_part(run, part);
  }
  if (is_end) end_run(run);
}

void Exchange::release_tokens(Run& run) {
  std::vector<HeldTokens>::iterator next = run.held.begin();
  for (; next != run.held.end() && next->end <= run.parser.decided(); ++next)
    run.tokens_in_output += next->tokens;
  run.held.erase(run.held.begin(), next);
}

void Exchange::write_part(Run& run, const ReplyPart& part) {
  if (part.is_new_call) {
    ++run.calls;
    run.call_id = new_call_id(state, job);
  }
  if (!is_stream()) {
    add_part(run.blocks, part, run.call_id);
    return;
  }
  begin_stream();
  // All reports that wait go with the first part that comes.
  std::vector<TokenReport> reports = std::exchange(run.reports, {});
  writer->part(output, {.index = run.index,
                        .part = part,
                        .call_id = run.call_id,
                        .call_index = run.calls - 1,
                        .reports = &reports,
                        .text_offset = run.text_offset});
  run.text_offset += character_count(part.text);
}

void Exchange::end_run(Run& run) {
  run.is_ended = true;
  if (!is_stream()) return;
  begin_stream();
  writer->end_choice(output, run.index, finish_of(run, job.request.stop), run.text_offset);
}

void Exchange::check_abort() {
  if (is_aborted()) return;
  if (is_disconnected || is_overrun) return abort(Outcome::kBuyerAbort, std::nullopt);
  for (const Run& run : runs) {
    if (!is_supplier_fault(run)) continue;
    log_error("gateway", "{}: supplier of {} failed: {}", connection.request_id, job.model->id,
              run.choice.finished().error);
    return abort(Outcome::kSellerFault, from_fault(run.choice.finished()));
  }
  if (is_stopped) return abort(Outcome::kSellerFault, overloaded("the server is stopping"));
  i64 silent_ns = state.clock.monotonic_ns() - news_ns;
  if (silent_ns < state.options.limits.supply_ms * 1'000'000 || is_all_finished()) return;
  ApiError late = supplier_failed();
  late.status = 504;
  late.message = "the supplier of this model did not answer in time";
  late.code = "timeout";
  bool has_tokens =
      std::any_of(runs.begin(), runs.end(), [](const Run& r) { return r.choice.tokens() > 0; });
  abort(has_tokens ? Outcome::kSellerFault : Outcome::kExpired, late);
}

void Exchange::abort(Outcome outcome, std::optional<ApiError> reason) {
  if (is_aborted()) return;
  aborted = outcome;
  aborted_ns = state.clock.monotonic_ns();
  error.reset();
  if (reason) error = *std::move(reason);
  for (Run& run : runs) {
    if (run.is_submitted && !run.choice.is_finished()) cancel(run);
  }
}

void Exchange::cancel(Run& run) {
  if (run.is_cancel_sent) return;
  run.is_cancel_sent = true;
  job.model->supplier->cancel(run.id);
  turn_soon(state, tended());
}

bool Exchange::is_all_finished() const {
  return std::all_of(runs.begin(), runs.end(),
                     [](const Run& run) { return !run.is_submitted || run.choice.is_finished(); });
}

void Exchange::confirm_output() {
  output.clear();
  std::string room = std::exchange(output, {});
  if (room.capacity() <= kOutputBytesKept) state.spare_output = std::move(room);
  written_ns = state.clock.monotonic_ns();
  i64 tokens = 0;
  for (Run& run : runs) {
    tokens += run.tokens_in_output;
    run.delivered += std::exchange(run.tokens_in_output, 0);
  }
  bool is_first = first_delivery_ns == 0 && tokens > 0;
  if (is_first) first_delivery_ns = std::max<i64>(1, written_ns - started_ns);
  report_progress();
}

void Exchange::conclude() {
  for (Run& run : runs) {
    if (!run.is_submitted) {
      run.outcome = Outcome::kRejected;
      continue;
    }
    // A whole reply is one piece: all of it is delivered with the response, or nothing.
    if (!is_stream() && !is_aborted()) run.delivered = run.choice.tokens();
    bool is_natural = run.choice.is_over() && !is_supplier_fault(run) &&
                      (!is_aborted() || (is_stream() && run.is_ended && run.tokens_in_output == 0));
    TG_ASSERT(is_natural || is_aborted());
    run.outcome = is_natural ? natural_outcome(run) : *aborted;
  }
}

UsageReport Exchange::usage() const {
  UsageReport usage;
  for (const PreparedPrompt& prompt : job.prompts) {
    usage.prompt_tokens += prompt.count;
  }
  usage.total_ns = state.clock.monotonic_ns() - started_ns;
  for (const Run& run : runs) {
    if (run.first_token_ns > 0) usage.first_token_ns = run.first_token_ns - started_ns;
    usage.completion_tokens += run.delivered;
    usage.reasoning_tokens += std::min(run.reasoning_tokens, run.delivered);
    usage.nominal_nst += run.settlement.nominal_nst;
    usage.charged += run.settlement.charged;
    usage.value_ucredit += run.settlement.value_ucredit;
    usage.in_money = run.settlement.in_money;
    usage.outcome = run.settlement.outcome;
    if (runs.size() == 1) usage.views = run.settlement.views;
    if (run.choice.is_finished()) {
      const unit::Usage& supplied = run.choice.finished().usage;
      usage.energy_uj += supplied.energy_uj;
      usage.is_energy_measured |= supplied.is_energy_measured;
    }
    // The choices of a prompt share it: the first tells what was cached before the request.
    if (run.number == 0 && run.choice.is_finished()) {
      usage.cached_tokens += run.choice.finished().usage.cached_tokens;
    }
    if (!run.settlement.receipt_id.empty()) {
      usage.receipt_ids.push_back(run.settlement.receipt_id);
    }
  }
  return usage;
}

// Of each prompt the n with the highest log probability per token, best first; all of them in order
// unless more were made than asked for.
std::vector<const Run*> Exchange::best_runs() const {
  std::vector<const Run*> out;
  std::size_t made = static_cast<std::size_t>(job.request.candidates());
  std::size_t wanted = static_cast<std::size_t>(job.request.n);
  auto likelihood = [](const Run* run) {
    return run->logprob_sum / static_cast<f64>(std::max<i64>(1, run->choice.tokens()));
  };
  for (std::size_t first = 0; first < runs.size(); first += made) {
    std::size_t begin = out.size();
    for (std::size_t i = first; i < first + made; ++i) out.push_back(&runs[i]);
    if (made == wanted) continue;
    std::stable_sort(out.begin() + static_cast<std::ptrdiff_t>(begin), out.end(),
                     [&](const Run* a, const Run* b) { return likelihood(a) > likelihood(b); });
    out.resize(begin + wanted);
  }
  return out;
}

std::string Exchange::reply() {
  TG_ASSERT(!is_stream() && !error);
  std::vector<WholeChoice> choices;
  for (const Run* run : best_runs()) {
    choices.push_back({.index = static_cast<i64>(choices.size()),
                       .blocks = &run->blocks,
                       .reports = &run->reports,
                       .finish = finish_of(*run, job.request.stop),
                       .embedding = &run->choice.finished().embedding});
  }
  return writer->whole(choices, usage());
}

ModelMetrics& Exchange::metrics() const {
  return state.model_metrics[static_cast<std::size_t>(job.model - state.models.data())];
}

void Exchange::record_use() {
  RequestRecord record;
  record.operation = job.request.is_chat() ? Operation::kChat : Operation::kTextCompletion;
  record.error_status = error ? error->status : is_aborted() ? 499 : 0;
  record.duration_ns = state.clock.monotonic_ns() - started_ns;
  Demand used;
  bool is_rejected = false;
  for (const PreparedPrompt& prompt : job.prompts) {
    record.input_tokens += prompt.count;
  }
  used.tokens = record.input_tokens;
  for (const Run& run : runs) {
    is_rejected = is_rejected || run.outcome == Outcome::kRejected;
    record.output_tokens += run.delivered;
    used.tokens += run.choice.tokens();
    used.nst += run.settlement.nominal_nst;
    if (run.first_token_ns == 0) continue;
    record.first_token_ns = run.first_token_ns - started_ns;
    if (run.choice.tokens() < 2) continue;
    record.per_output_token_ns =
        (run.last_token_ns - run.first_token_ns) / (run.choice.tokens() - 1);
  }
  metrics().record(record);
  if (is_rejected) used = {};
  turn.set_actual(used.nst);
  if (admission) admission->ended.used = used;
  TenantMetrics& tenant = state.metrics.tenant(key.standing->at(Level::kOrganisation).id);
  ++tenant.requests;
  tenant.tokens += static_cast<u64>(used.tokens);
  tenant.nominal_nst += static_cast<u64>(used.nst);
  RequestLog& log = connection.log;
  log.model = job.model->id;
  log.input_tokens = record.input_tokens;
  log.output_tokens = record.output_tokens;
  log.nominal_nst = used.nst;
  log.outcome = meter::name(runs.front().outcome);
  if (is_head_written) log.status = 200;
}

void Exchange::record_metrics() const {
  ModelMetrics& model = metrics();
  i64 now_ns = state.clock.monotonic_ns();
  model.e2e_latency.observe_ns(now_ns - started_ns);
  for (const Run& run : runs) {
    ++model.outcomes[run.outcome];
    if (run.outcome == Outcome::kRejected) continue;
    model.prompt_tokens += static_cast<u64>(job.prompts[run.prompt].count);
    model.generation_tokens += static_cast<u64>(run.delivered);
    model.nominal_nst += static_cast<u64>(run.settlement.nominal_nst);
    model.charged_nst += static_cast<u64>(run.settlement.charged);
    model.receipts += run.settlement.receipt_id.empty() ? 0 : 1;
    bool is_natural = !is_aborted() || run.outcome != *aborted;
    bool is_whole = is_natural && run.choice.is_over();
    std::string_view reason =
        is_whole ? finish_reason(finish_of(run, job.request.stop)) : std::string_view("abort");
    ++model.finished[std::string(reason)];
    if (is_whole) {
      ++model.whole_replies;
      model.whole_reply_tokens += run.delivered;
    }
    if (run.choice.tokens() > 1) {
      model.time_per_output_token.observe_ns((run.last_token_ns - run.first_token_ns) /
                                             (run.choice.tokens() - 1));
    }
    if (!run.choice.is_finished()) continue;
    model.cached_tokens += static_cast<u64>(run.choice.finished().usage.cached_tokens);
    model.actual_atto_st += run.choice.finished().usage.actual_atto_st;
  }
}

}  // namespace tg::gateway
