// One request at an external engine: call, pieces, ids, last word.
#include <algorithm>
#include <array>

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

// What is known of a request while it runs. No more than that: of the request itself, which is let
// go once the engine has it, only what is needed to the end.
struct Progress {
  Progress(StatePtr supplier, const fleet::SupplyRequest& request)
      : state(std::move(supplier)),
        id(request.id),
        max_tokens(request.max_tokens),
        events(request.events),
        lines(state->dialect.is_lines()),
        reader(state->dialect.reader()),
        usage(state->dialect.usage()),
        prompt_tokens(static_cast<i64>(request.prompt.size())),
        started_ns(state->clock.monotonic_ns()) {}

  const StatePtr state;
  const u64 id;
  const i64 max_tokens;
  const std::shared_ptr<Mailbox<fleet::SupplierEvent>> events;
  EngineCall* call = nullptr;  // in the state's list until the last word
  std::shared_ptr<HttpExchange> exchange;
  EventLines lines;
  std::unique_ptr<ReplyReader> reader;
  market::UsageReader usage;
  i64 prompt_tokens;
  i64 started_ns;
  i64 first_ns = 0;
  i64 tokens = 0;
  i64 bytes = 0;  // of text
  bool is_estimated = false;
  bool is_deaf = false;  // the mailbox takes no more
  std::unique_ptr<fleet::SupplierEvent> last;
};

using ProgressPtr = std::shared_ptr<Progress>;

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

void end_with(Progress& progress, fleet::SupplierEvent last) {
  progress.last = std::make_unique<fleet::SupplierEvent>(std::move(last));
}

// Tokens beyond those asked for are dropped: nobody pays for them.
void send_tokens(Progress& progress, EngineNews& news) {
  if (news.tokens.empty() && !news.text.empty()) {
    news.tokens = tokens_of_text(*progress.state->tokenizer, news.text);
    news.logprobs.clear();
    progress.is_estimated = true;
  }
  progress.bytes += static_cast<i64>(news.text.size());
  i64 room = progress.max_tokens - progress.tokens;
  if (static_cast<i64>(news.tokens.size()) > room) news.tokens.resize(static_cast<u64>(room));
  if (news.tokens.empty()) return;
  if (news.logprobs.size() != news.tokens.size()) news.logprobs.clear();
  if (progress.first_ns == 0) progress.first_ns = progress.state->clock.monotonic_ns();
  progress.tokens += static_cast<i64>(news.tokens.size());
  fleet::SupplierEvent event;
  event.request = progress.id;
  event.kind = fleet::SupplierEvent::Kind::kTokens;
  event.tokens = std::move(news.tokens);
  event.logprobs = std::move(news.logprobs);
  event.is_estimated = progress.is_estimated;
  progress.is_deaf = !progress.events->try_push(event);
}

void take(Progress& progress, const std::string& text) {
  if (progress.last) return;
  if (text != "[DONE]" && progress.usage.may_tell(text)) {
    // What is wrong with it, the reader says below.
    Status ignored = progress.usage.read(text);
    static_cast<void>(ignored);
  }
  Result<EngineNews> read = progress.reader->read(text);
  if (!read.ok()) {
    end_with(progress, failure(one_line(read.error().message), fleet::Fault::kBroken));
    return;
  }
  EngineNews& news = *read;
  send_tokens(progress, news);
  if (!news.error.empty()) {
    end_with(progress, failure(one_line(news.error), fleet::Fault::kBroken));
  } else if (news.is_finished) {
    fleet::SupplierEvent event;
    event.kind = fleet::SupplierEvent::Kind::kFinished;
    event.reason = news.reason;
    end_with(progress, std::move(event));
  }
}

market::ExternalUsage claims_of(const Progress& progress) {
  return progress.usage.finish({.prompt_tokens = progress.prompt_tokens,
                                .output_tokens_max = progress.max_tokens,
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
unit::Usage usage_of(const Progress& progress, const market::ExternalUsage& said) {
  i64 prompt = progress.prompt_tokens;
  i64 now = progress.state->clock.monotonic_ns();
  unit::Usage usage;
  usage.prompt_tokens = prompt;
  usage.cached_tokens = std::min(said.tokens.cached_input, prompt);
  usage.output_tokens = progress.tokens;
  usage.first_token_ns = progress.first_ns == 0 ? 0 : progress.first_ns - progress.started_ns;
  usage.total_ns = now - progress.started_ns;
  return usage;
}

void tell_last(Progress& progress, fleet::SupplierEvent event) {
  event.request = progress.id;
  market::ExternalUsage said = claims_of(progress);
  event.usage = usage_of(progress, said);
  if (event.reason != FinishReason::kError) event.dispute = dispute_of(progress, said);
  event.is_estimated = progress.is_estimated;
  if (!progress.events->try_push(event))
    log_warn("node", "request {}: its reader is gone", progress.id);
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

awaitable<void> tell_abort(StatePtr state, HttpCall call) {
  Result<HttpAnswer> ignored = co_await ask(&state->peer, call, kAbortMs, kErrorBytesMax);
  static_cast<void>(ignored);
}

// The end of a call, whatever it came to.
void finish(Progress& progress, fleet::SupplierEvent last) {
  bool is_aborted = last.reason == FinishReason::kCancelled;
  progress.call = nullptr;
  progress.state->calls.erase(progress.id);
  progress.state->open.fetch_sub(1);
  tell_last(progress, std::move(last));
  std::optional<HttpCall> abort = progress.state->dialect.abort(progress.id);
  if (is_aborted && abort) spawn(progress.state->io, tell_abort(progress.state, *std::move(abort)));
}

// Nothing more is to be read. What follows the last word (a second event with the usage, [DONE]) is
// not worth a wait; the link is only kept if it has been read.
void finish_stream(Progress& progress) {
  finish_call(progress.state->peer, progress.exchange);
  if (progress.last) return finish(progress, *std::move(progress.last));
  if (progress.call->is_cancelled || progress.is_deaf) return finish(progress, cancelled());
  finish(progress, failure("the engine's reply broke off", fleet::Fault::kBroken));
}

// What has come of the body; false if that was the end of it.
bool take_body(Progress& progress, std::string_view piece) {
  thread_local std::vector<std::string> texts;
  HttpExchange& exchange = *progress.exchange;
  texts.clear();
  Status cut = progress.lines.push(piece, texts);
  if (exchange.is_over) progress.lines.finish(texts);
  for (const std::string& text : texts) take(progress, text);
  if (progress.call->is_cancelled) return false;
  if (!cut.ok() && !progress.last)
    end_with(progress, failure(cut.error().message, fleet::Fault::kBroken));
  return !exchange.is_over && !progress.last && !progress.is_deaf;
}

// A reply that goes on over a plain link: no coroutine, of which every open stream would hold on to
// the frames, and no room of its own for what is read, for it is read when it is there.
class PlainRead final : public Deadlines::Entry {
 public:
  explicit PlainRead(ProgressPtr progress) : progress_(std::move(progress)) {}

  // Reads until the reply's end. It keeps itself until then.
  static void start(ProgressPtr progress) {
    std::shared_ptr<PlainRead> read = std::make_shared<PlainRead>(std::move(progress));
    std::string piece;
    HttpExchange& exchange = *read->progress_->exchange;
    bool goes_on = !take_piece(exchange, piece) || take_body(*read->progress_, piece);
    if (goes_on) return wait(std::move(read));
    finish_stream(*read->progress_);
  }

 private:
  static void wait(std::shared_ptr<PlainRead> read) {
    Link& link = *read->progress_->exchange->link;
    if (link.is_closed) return finish_stream(*read->progress_);
    link.expire_after_ms(read->progress_->state->options.silent_ms);
    link.deadlines->enter(*read, link.deadline_ns);
    PlainRead* at = read.get();
    link.bare->async_wait(tcp::socket::wait_read,
                          [kept = std::move(read), at](const error_code& error) mutable {
                            at->leave();
                            if (at->take(error)) return wait(std::move(kept));
                            finish_stream(*at->progress_);
                          });
  }

  bool take(const error_code& error) {
    thread_local std::array<char, 64 * 1'024> room;
    thread_local std::string piece;
    HttpExchange& exchange = *progress_->exchange;
    std::size_t count = 0;
    if (!error) {
      ReadNow now = try_read(*exchange.link, asio::buffer(room));
      if (now.is_empty) return true;
      count = now.count;
    }
    // The text of a piece goes where that of the last one was, whichever stream's it was.
    std::string& body = exchange.parser.get().body();
    piece.clear();
    if (body.empty()) body.swap(piece);
    if (!take_bytes(exchange, std::string_view(room.data(), count))) return false;
    while (take_piece(exchange, piece)) {
      if (!take_body(*progress_, piece)) return false;
    }
    if (body.empty() && body.capacity() > piece.capacity()) body.swap(piece);
    return true;
  }

  void expire() override { progress_->exchange->link->close(); }

  ProgressPtr progress_;
};

// The same over TLS.
awaitable<void> read_stream(ProgressPtr progress) {
  bool goes_on = true;
  while (goes_on) {
    std::string piece = co_await read_piece(progress->exchange, progress->state->options.silent_ms);
    bool is_broken = piece.empty() && !progress->exchange->is_over;
    goes_on = take_body(*progress, piece) && !is_broken;
  }
  finish_stream(*progress);
}

// Up to the reply's head; the last word if there is nothing to read after it.
awaitable<std::unique_ptr<fleet::SupplierEvent>> begin(ProgressPtr progress, HttpCall call) {
  EngineSupplier::State& state = *progress->state;
  Result<std::shared_ptr<HttpExchange>> started =
      co_await start_call(&state.peer, std::move(call), state.options.silent_ms);
  if (progress->call->is_cancelled) {
    if (started.ok()) (*started)->link->close();
    co_return std::make_unique<fleet::SupplierEvent>(cancelled());
  }
  if (!started.ok())
    co_return std::make_unique<fleet::SupplierEvent>(
        failure(started.error().message, fleet::Fault::kBroken));
  progress->exchange = *started;
  progress->call->exchange = *started;
  i32 status = static_cast<i32>(progress->exchange->parser.get().result_int());
  if (status == 200) co_return nullptr;
  fleet::SupplierEvent refused = co_await refusal(progress->exchange, status);
  finish_call(state.peer, progress->exchange);
  co_return std::make_unique<fleet::SupplierEvent>(std::move(refused));
}

}  // namespace

awaitable<void> serve_call(StatePtr state, fleet::SupplyRequest request) {
  ProgressPtr progress = std::make_shared<Progress>(state, request);
  progress->call = &state->calls.try_emplace(request.id).first->second;
  HttpCall call = state->dialect.generate(request, state->facts, *state->tokenizer);
  std::vector<TokenId>().swap(request.prompt);
  std::unique_ptr<fleet::SupplierEvent> last = co_await begin(progress, std::move(call));
  if (last != nullptr) {
    finish(*progress, *std::move(last));
  } else if (progress->exchange->link->bare) {
    PlainRead::start(std::move(progress));
  } else {
    // One of its own, so that the request is let go.
    spawn(state->io, read_stream(std::move(progress)));
  }
}

}  // namespace tg::node
