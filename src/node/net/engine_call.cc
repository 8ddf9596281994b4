// One request at an external engine: call, pieces, ids, last word.
#include <algorithm>

#include "base/log.h"
#include "node/engines/event_lines.h"
#include "node/engines/json.h"
#include "node/engines/text_tokens.h"
#include "node/net/engine_state.h"

namespace tg::node {
namespace {

using StatePtr = std::shared_ptr<EngineSupplier::State>;
using fleet::FinishReason;

constexpr std::size_t kErrorBytesMax = 64 * 1024;
constexpr std::size_t kErrorShownMax = 300;
constexpr i64 kAbortMs = 2'000;

// What is known of a request while it runs.
struct Progress {
  Progress(const StatePtr& state, const fleet::SupplyRequest& what)
      : request(what),
        lines(state->dialect.is_lines()),
        reader(state->dialect.reader()),
        usage(state->dialect.usage()),
        prompt_tokens(static_cast<i64>(what.prompt.size())),
        started_ns(state->clock.monotonic_ns()) {}

  const fleet::SupplyRequest& request;
  EventLines lines;
  std::unique_ptr<ReplyReader> reader;
  market::UsageReader usage;
  i64 prompt_tokens;  // The prompt itself is kept no longer than the call needs it.
  i64 started_ns;
  i64 first_ns = 0;
  i64 tokens = 0;
  i64 bytes = 0;  // of text
  bool is_estimated = false;
  bool is_deaf = false;  // the mailbox takes no more
  std::optional<fleet::SupplierEvent> last;
};

fleet::SupplierEvent failure(std::string error, fleet::Fault fault) {
  fleet::SupplierEvent event;
  event.kind = fleet::SupplierEvent::Kind::kFinished;
  event.reason = FinishReason::kError;
  event.error = std::move(error);
  event.fault = fault;
  return event;
}

fleet::Fault fault_of(i32 status) {
  if (status == 429 || status == 503) return fleet::Fault::kBusy;
  return status >= 400 && status < 500 ? fleet::Fault::kInvalid : fleet::Fault::kBroken;
}

std::string one_line(std::string text) {
  for (char& c : text) {
    if (static_cast<u8>(c) < ' ') c = ' ';
  }
  return text.substr(0, kErrorShownMax);
}

// Tokens beyond those asked for are dropped: nobody pays for them.
void send_tokens(const StatePtr& state, Progress& progress, EngineNews& news) {
  if (news.tokens.empty() && !news.text.empty()) {
    news.tokens = tokens_of_text(*state->tokenizer, news.text);
    news.logprobs.clear();
    progress.is_estimated = true;
  }
  progress.bytes += static_cast<i64>(news.text.size());
  i64 room = progress.request.max_tokens - progress.tokens;
  if (static_cast<i64>(news.tokens.size()) > room) news.tokens.resize(static_cast<u64>(room));
  if (news.tokens.empty()) return;
  if (news.logprobs.size() != news.tokens.size()) news.logprobs.clear();
  if (progress.first_ns == 0) progress.first_ns = state->clock.monotonic_ns();
  progress.tokens += static_cast<i64>(news.tokens.size());
  fleet::SupplierEvent event;
  event.request = progress.request.id;
  event.kind = fleet::SupplierEvent::Kind::kTokens;
  event.tokens = std::move(news.tokens);
  event.logprobs = std::move(news.logprobs);
  event.is_estimated = progress.is_estimated;
  progress.is_deaf = !progress.request.events->try_push(event);
}

void take(const StatePtr& state, Progress& progress, const std::string& text) {
  if (progress.last) return;
  if (text != "[DONE]" && progress.usage.may_tell(text)) {
    // What is wrong with it, the reader says below.
    Status ignored = progress.usage.read(text);
    static_cast<void>(ignored);
  }
  Result<EngineNews> read = progress.reader->read(text);
  if (!read.ok()) {
    progress.last = failure(one_line(read.error().message), fleet::Fault::kBroken);
    return;
  }
  EngineNews& news = *read;
  send_tokens(state, progress, news);
  if (!news.error.empty()) {
    progress.last = failure(one_line(news.error), fleet::Fault::kBroken);
  } else if (news.is_finished) {
    fleet::SupplierEvent event;
    event.kind = fleet::SupplierEvent::Kind::kFinished;
    event.reason = news.reason;
    progress.last = event;
  }
}

market::ExternalUsage claims_of(const Progress& progress) {
  return progress.usage.finish({.prompt_tokens = progress.prompt_tokens,
                                .output_tokens_max = progress.request.max_tokens,
                                .delivered_bytes = progress.bytes});
}

// Engines count an end-of-generation token that they do not send. Where we counted from text, our
// count is an estimate and contradicts nothing.
std::string dispute_of(const Progress& progress, const market::ExternalUsage& said) {
  constexpr i64 kSlack = 1;
  i64 claimed = said.tokens.output + said.tokens.reasoning;
  bool is_absurd = (said.flags & market::usage_flag::kOutputAbsurd) != 0;
  bool is_more = !progress.is_estimated && claimed > progress.tokens + kSlack;
  if (!is_absurd && !is_more) return "";
  return "claims " + std::to_string(claimed) + " output tokens, " +
         std::to_string(progress.tokens) + " came";
}

// The engine's own figures only lower what we counted: what it took from its cache.
unit::Usage usage_of(const StatePtr& state, const Progress& progress,
                     const market::ExternalUsage& said) {
  i64 prompt = progress.prompt_tokens;
  i64 now = state->clock.monotonic_ns();
  unit::Usage usage;
  usage.prompt_tokens = prompt;
  usage.cached_tokens = std::min(said.tokens.cached_input, prompt);
  usage.output_tokens = progress.tokens;
  usage.first_token_ns = progress.first_ns == 0 ? 0 : progress.first_ns - progress.started_ns;
  usage.total_ns = now - progress.started_ns;
  return usage;
}

void finish(const StatePtr& state, Progress& progress, fleet::SupplierEvent event) {
  event.request = progress.request.id;
  market::ExternalUsage said = claims_of(progress);
  event.usage = usage_of(state, progress, said);
  if (event.reason != FinishReason::kError) event.dispute = dispute_of(progress, said);
  event.is_estimated = progress.is_estimated;
  if (!progress.request.events->try_push(event))
    log_warn("node", "request {}: its reader is gone", progress.request.id);
}

fleet::SupplierEvent cancelled() {
  fleet::SupplierEvent event;
  event.kind = fleet::SupplierEvent::Kind::kFinished;
  event.reason = FinishReason::kCancelled;
  return event;
}

// The reply of a call that was refused, as its last event.
awaitable<fleet::SupplierEvent> refusal(std::shared_ptr<HttpExchange> exchange, i32 status) {
  std::string body;
  while (!exchange->is_over && body.size() < kErrorBytesMax) {
    std::string piece = co_await read_piece(exchange, kAbortMs);
    if (piece.empty()) break;
    body += piece;
  }
  Result<Json> json = parse_object(body, "the engine");
  std::string said = json.ok() ? error_of(*json) : body;
  if (said.empty()) said = body;
  std::string text = "status " + std::to_string(status) + ": " + said;
  co_return failure(one_line(std::move(text)), fault_of(status));
}

awaitable<fleet::SupplierEvent> stream(StatePtr state, Progress* progress, HttpCall call, u64 id) {
  Result<std::shared_ptr<HttpExchange>> started =
      co_await start_call(&state->peer, std::move(call), state->options.silent_ms);
  if (state->calls[id].is_cancelled) {
    if (started.ok()) (*started)->link->close();
    co_return cancelled();
  }
  if (!started.ok()) co_return failure(started.error().message, fleet::Fault::kBroken);
  std::shared_ptr<HttpExchange> exchange = *started;
  state->calls[id].exchange = exchange;
  i32 status = static_cast<i32>(exchange->parser.get().result_int());
  if (status != 200) {
    fleet::SupplierEvent refused = co_await refusal(exchange, status);
    finish_call(state->peer, exchange);
    co_return refused;
  }
  std::vector<std::string> texts;
  while (!exchange->is_over && !progress->last && !progress->is_deaf) {
    std::string piece;
    while (!take_piece(*exchange, piece)) {
      asio::mutable_buffer room = prepare_read(*exchange, state->options.silent_ms);
      std::size_t count = 0;
      Link* link = exchange->link.get();
      if (link->plain && link->deadlines != nullptr && !link->is_closed) {
        // As read_some() would: a coroutine for every piece of a stream costs as much as the piece.
        LinkOperation operation(link);
        error_code error;
        count = co_await link->plain->socket().async_read_some(
            room, asio::redirect_error(asio::use_awaitable, error));
        if (error) count = 0;
      } else {
        count = co_await read_some(exchange->link, room);
      }
      if (!take_read(*exchange, count)) break;
    }
    texts.clear();
    Status cut = progress->lines.push(piece, texts);
    if (exchange->is_over) progress->lines.finish(texts);
    for (const std::string& text : texts) take(state, *progress, text);
    if (state->calls[id].is_cancelled) break;
    if (!cut.ok()) progress->last = failure(cut.error().message, fleet::Fault::kBroken);
    if (piece.empty() && !exchange->is_over) break;
  }
  // What follows the last word (a second event with the usage, [DONE]) is not worth a wait; the
  // link is only kept if it has been read.
  finish_call(state->peer, exchange);
  if (progress->last) co_return *progress->last;
  if (state->calls[id].is_cancelled || progress->is_deaf) co_return cancelled();
  co_return failure("the engine's reply broke off", fleet::Fault::kBroken);
}

awaitable<void> tell_abort(StatePtr state, HttpCall call) {
  Result<HttpAnswer> ignored = co_await ask(&state->peer, call, kAbortMs, kErrorBytesMax);
  static_cast<void>(ignored);
}

}  // namespace

awaitable<void> serve_call(StatePtr state, fleet::SupplyRequest request) {
  u64 id = request.id;
  state->calls.try_emplace(id);
  Progress progress(state, request);
  HttpCall call = state->dialect.generate(request, state->facts, *state->tokenizer);
  std::vector<TokenId>().swap(request.prompt);
  fleet::SupplierEvent last = co_await stream(state, &progress, std::move(call), id);
  bool is_aborted = last.reason == FinishReason::kCancelled;
  state->calls.erase(id);
  state->open.fetch_sub(1);
  finish(state, progress, std::move(last));
  std::optional<HttpCall> abort = state->dialect.abort(id);
  if (is_aborted && abort) {
    HttpCall told = *abort;
    co_await tell_abort(state, told);
  }
}

}  // namespace tg::node
