#include "gateway/net/batches.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <chrono>
#include <map>
#include <utility>

#include "base/bytes.h"
#include "base/log.h"
#include "gateway/batch/batch_json.h"
#include "gateway/batch/multipart.h"
#include "gateway/json_fields.h"
#include "gateway/list_query.h"
#include "gateway/net/admission.h"
#include "gateway/net/once.h"

namespace tg::gateway {
namespace {

constexpr i64 kNsPerSecond = 1'000'000'000;
constexpr i64 kWindowSeconds = 24 * 3'600;
constexpr i64 kListMax = 10'000;
constexpr i64 kLinesAtOnce = 16;  // Of one batch.
constexpr i64 kTriesMax = 8;      // Of a line that suppliers fail.
constexpr i64 kMetadataMax = 16;
constexpr std::chrono::milliseconds kRetryAfter(500);

// Optional, because a spawned coroutine's result must have a default.
template <typename T, typename Work>
awaitable<std::optional<T>> work_on(BatchBook* book, Work work, i64 time_s) {
  Status swept = book->erase_expired(time_s);
  if (!swept.ok()) log_error("gateway", "files that expired stay: {}", swept.error().message);
  co_return work(*book);
}

i64 now_s(const GatewayState& state) {
  return state.clock.now().ns / kNsPerSecond;
}

// `work(book)` on the thread that owns it.
template <typename T, typename Work>
awaitable<T> with_book(GatewayState* state, Work work) {
  awaitable<std::optional<T>> working =
      work_on<T>(state->batches.get(), std::move(work), now_s(*state));
  std::optional<T> done =
      co_await asio::co_spawn(state->store_pool, std::move(working), asio::use_awaitable);
  co_return *std::move(done);
}

Served page(std::string body) {
  Served served;
  served.response = HttpResponse{.body = std::move(body)};
  return served;
}

Served refusal(ApiError error) {
  Served served;
  served.error = std::move(error);
  return served;
}

Served refusal(const Error& error) {
  ApiError out{.message = error.message, .code = "invalid_value"};
  if (error.code == Code::kNotFound) {
    out.status = 404;
    out.code = "not_found";
  }
  bool is_ours = error.code != Code::kNotFound && error.code != Code::kInvalid &&
                 error.code != Code::kLimit && error.code != Code::kUnsupported;
  if (!is_ours) return refusal(std::move(out));
  log_error("gateway", "batches: {}", error.message);
  return refusal(internal_error("files and batches cannot be kept at the moment"));
}

std::string owner_of(const KeyInfo& key) {
  return to_hex(key.account) + "/" + key.standing->at(Level::kProject).id;
}

template <typename T>
std::string list_of(std::vector<T> all, i64 limit, std::string (*show)(const T&)) {
  bool has_more = static_cast<i64>(all.size()) > limit;
  if (has_more) all.resize(static_cast<std::size_t>(limit));
  std::vector<std::string> items;
  for (const T& each : all) items.push_back(show(each));
  std::string first = all.empty() ? "" : all.front().id;
  std::string last = all.empty() ? "" : all.back().id;
  return list_json(items, first, last, has_more);
}

// ---- files --------------------------------------------------------------------------------------

struct Upload {
  StoredFile file;
  std::string content;
  i64 life_s = 0;  // 0: it stays.
};

Result<i64> life_of(std::string_view text) {
  i64 life = 0;
  std::from_chars_result end = std::from_chars(text.data(), text.data() + text.size(), life);
  bool is_whole = end.ec == std::errc() && end.ptr == text.data() + text.size();
  if (is_whole && life >= kFileLifeMinS && life <= kFileLifeMaxS) return life;
  return Error{Code::kInvalid, fmt::format("'expires_after[seconds]' must be from {} to {}, not "
                                           "'{}'",
                                           kFileLifeMinS, kFileLifeMaxS, text.substr(0, 40))};
}

// Of a form; purposes but "batch" have no use here.
Result<Upload> read_upload(const HttpRequest& request) {
  TG_ASSIGN(std::vector<FormPart> parts, parse_form(request.content_type, request.body));
  Upload upload;
  bool has_file = false;
  std::string_view anchor;
  for (const FormPart& part : parts) {
    if (part.name == "purpose") upload.file.purpose = std::string(part.content);
    if (part.name == "expires_after[anchor]") anchor = part.content;
    if (part.name == "expires_after[seconds]") {
      TG_ASSIGN(upload.life_s, life_of(part.content));
    }
    if (part.name != "file") continue;
    has_file = true;
    upload.file.filename = part.filename.substr(0, 255);
    upload.content = std::string(part.content);
  }
  if (!has_file) return Error{Code::kInvalid, "the form has no part 'file'"};
  bool is_anchored = anchor == "created_at" || (anchor.empty() && upload.life_s == 0);
  if (!is_anchored || (!anchor.empty() && upload.life_s == 0)) {
    return Error{Code::kInvalid,
                 "'expires_after' must have the anchor \"created_at\" and its seconds"};
  }
  if (upload.file.purpose != "batch") {
    return Error{Code::kInvalid,
                 "'purpose' must be \"batch\", not '" + upload.file.purpose.substr(0, 100) + "'"};
  }
  if (upload.file.filename.empty() || !is_utf8(upload.file.filename)) upload.file.filename = "file";
  upload.file.bytes = static_cast<i64>(upload.content.size());
  return upload;
}

awaitable<Served> upload_file(GatewayState* state, HttpRequest request, KeyInfo key) {
  Result<Upload> upload = read_upload(request);
  if (!upload.ok()) co_return refusal(upload.error());
  upload->file.id = new_id(*state, "file-");
  upload->file.owner = owner_of(key);
  upload->file.created_s = now_s(*state);
  if (upload->life_s > 0) upload->file.expires_s = upload->file.created_s + upload->life_s;
  std::string json = file_json(upload->file);
  auto put = [kept = std::move(*upload)](BatchBook& book) {
    return book.put_file(kept.file, kept.content);
  };
  Status done = co_await with_book<Status>(state, std::move(put));
  if (!done.ok()) co_return refusal(done.error());
  co_return page(std::move(json));
}

awaitable<Served> list_files(GatewayState* state, std::string target, std::string owner) {
  Result<ListQuery> query = list_query(target, kListMax);
  if (!query.ok()) co_return refusal(query.error());
  i64 limit = query->limit;
  auto list = [owner, wanted = *query](BatchBook& book) { return book.files(owner, wanted); };
  Result<std::vector<StoredFile>> all =
      co_await with_book<Result<std::vector<StoredFile>>>(state, std::move(list));
  if (!all.ok()) co_return refusal(all.error());
  co_return page(list_of(std::move(*all), limit, file_json));
}

awaitable<Served> one_file(GatewayState* state, std::string method, std::string id,
                           std::string owner) {
  if (method == "DELETE") {
    auto erase = [id, owner](BatchBook& book) { return book.erase_file(id, owner); };
    Status done = co_await with_book<Status>(state, std::move(erase));
    if (!done.ok()) co_return refusal(done.error());
    co_return page(deleted_file_json(id));
  }
  auto find = [id, owner](BatchBook& book) { return book.file(id, owner); };
  Result<StoredFile> file = co_await with_book<Result<StoredFile>>(state, std::move(find));
  if (!file.ok()) co_return refusal(file.error());
  co_return page(file_json(*file));
}

awaitable<Served> file_content(GatewayState* state, std::string id, std::string owner) {
  auto read = [id, owner](BatchBook& book) { return book.content(id, owner); };
  Result<std::string> content = co_await with_book<Result<std::string>>(state, std::move(read));
  if (!content.ok()) co_return refusal(content.error());
  Served served = page(std::move(*content));
  served.response->content_type = "application/octet-stream";
  co_return served;
}

// ---- running ------------------------------------------------------------------------------------

// What the coroutines of one batch share.
struct Progress {
  explicit Progress(asio::io_context& io) : signal(io) {}
  std::shared_ptr<BatchRun> run;
  std::vector<BatchLine> lines;  // That have no result yet.
  std::size_t next = 0;
  i64 workers = 0;
  bool has_failed = false;  // Results cannot be kept: the batch waits for the next start.
  asio::steady_timer signal;
};

bool goes_on(const GatewayState& state, const Progress& progress) {
  bool has_time = now_s(state) < progress.run->batch.expires_s;
  return has_time && !progress.run->is_cancelled && !progress.has_failed && !state.is_draining;
}

// The key that made the batch, at batch class; none if it may not be used any more.
std::optional<KeyInfo> key_of(GatewayState& state, const Batch& batch) {
  (void)authenticate(state, "");  // Brings the directory up to date.
  std::optional<KeyInfo> key = state.directory->find_id(batch.key, state.clock.now());
  if (!key || check_scope(*key, Scope::kInference)) return std::nullopt;
  Standing standing = *key->standing;
  standing.service = fleet::ServiceClass::kBatch;
  key->standing = std::make_shared<const Standing>(std::move(standing));
  return key;
}

Api api_of(std::string_view endpoint) {
  if (endpoint == "/v1/completions") return Api::kCompletions;
  if (endpoint == "/v1/embeddings") return Api::kEmbeddings;
  if (endpoint == "/v1/responses") return Api::kResponses;
  return Api::kChat;
}

bool is_worth_a_retry(const ApiError& error) {
  bool is_late = error.status == 429 || error.status == 503;
  return !error.is_final && (is_late || error.status == 502 || error.status == 504);
}

struct LineTry {
  Served served;
  std::string request_id;
};

awaitable<LineTry> try_line(GatewayState* state, std::shared_ptr<BatchRun> run, BatchLine line,
                            KeyInfo key) {
  std::shared_ptr<Connection> connection =
      std::make_shared<Connection>(tcp::socket(state->io), nullptr, state->deadlines);
  connection->is_detached = true;
  connection->request_id = new_id(*state, "req_");
  HttpRequest request{.method = "POST", .target = run->batch.endpoint};
  request.content_type = "application/json";
  std::string name = fmt::format("{}/{}", run->batch.id, line.number);
  request.body = std::move(line.body);
  LineTry out;
  out.request_id = connection->request_id;
  out.served = co_await serve_named(state, std::move(connection), std::move(request),
                                    api_of(run->batch.endpoint), std::move(key), std::move(name));
  co_return out;
}

// Its reply or its last refusal; none if it shall run later, or never.
awaitable<std::optional<LineReply>> answer_line(GatewayState* state,
                                                std::shared_ptr<Progress> progress,
                                                BatchLine line) {
  asio::steady_timer timer(state->io);
  for (i64 tries = 0; goes_on(*state, *progress);) {
    std::optional<KeyInfo> key = key_of(*state, progress->run->batch);
    if (!key) {
      progress->run->is_cancelled = true;
      co_return std::nullopt;
    }
    LineTry got = co_await try_line(state, progress->run, line, *std::move(key));
    LineReply reply{.id = new_id(*state, "batch_req_"), .request_id = got.request_id};
    if (got.served.response && !got.served.error) {
      reply.status = got.served.response->status;
      reply.body = std::move(got.served.response->body);
      co_return reply;
    }
    ApiError error = got.served.error ? *got.served.error : internal_error("the request was lost");
    bool is_fault = error.status == 502 || error.status == 504;
    if (is_fault) ++tries;
    if (!is_worth_a_retry(error) || tries >= kTriesMax) {
      // What stopped it may be that the server stops.
      if (state->is_draining) co_return std::nullopt;
      reply.status = error.status;
      reply.body = error_json(error);
      co_return reply;
    }
    i64 wait_s = std::clamp<i64>(error.retry_after_s, 0, 60);
    timer.expires_after(kRetryAfter + std::chrono::seconds(wait_s));
    error_code ignored;
    co_await timer.async_wait(asio::redirect_error(asio::use_awaitable, ignored));
  }
  co_return std::nullopt;
}

awaitable<void> keep_result(GatewayState* state, std::shared_ptr<Progress> progress,
                            BatchResult result) {
  Batch& batch = progress->run->batch;
  bool is_failure = result.is_failure;
  BatchUsage usage = result.usage;
  auto put = [id = batch.id, kept = std::move(result)](BatchBook& book) {
    return book.put_result(id, kept);
  };
  Status done = co_await with_book<Status>(state, std::move(put));
  if (!done.ok()) {
    log_error("gateway", "{}: {}", batch.id, done.error().message);
    progress->has_failed = true;
    co_return;
  }
  ++(is_failure ? batch.failed : batch.completed);
  batch.usage.input_tokens += usage.input_tokens;
  batch.usage.cached_tokens += usage.cached_tokens;
  batch.usage.output_tokens += usage.output_tokens;
  batch.usage.reasoning_tokens += usage.reasoning_tokens;
}

awaitable<void> run_lines(GatewayState* state, std::shared_ptr<Progress> progress) {
  while (progress->next < progress->lines.size() && goes_on(*state, *progress)) {
    BatchLine line = progress->lines[progress->next++];
    std::optional<LineReply> reply = co_await answer_line(state, progress, line);
    if (!reply) break;
    BatchResult result{.line = line.number, .is_failure = reply->status != 200};
    result.text = line_json(line, *reply);
    if (!result.is_failure) result.usage = usage_in(reply->body);
    co_await keep_result(state, progress, std::move(result));
  }
  --progress->workers;
  progress->signal.cancel();
}

void log_exception(std::exception_ptr failure) {
  if (failure) log_error("gateway", "a batch ended with an exception");
}

// What is read of a batch before it runs.
struct BatchWork {
  Batch batch;
  std::vector<BatchLine> lines;
};

// Reads its lines; a batch with bad ones fails as a whole, as OpenAI's do.
Result<BatchWork> prepare_work(BatchBook& book, Batch batch, i64 time_s) {
  BatchInput input;
  Result<std::string> content = book.content(batch.input_file, batch.owner);
  if (content.ok()) {
    input = read_batch_input(*content, batch.endpoint);
  } else {
    input.problems.push_back({.code = "file_not_found", .message = content.error().message});
  }
  batch.total = static_cast<i64>(input.lines.size());
  batch.model = input.model;
  if (!input.problems.empty()) {
    batch.errors = problems_json(input.problems);
    batch.enter(BatchStatus::kFailed, time_s);
    TG_TRY(book.update(batch));
    return BatchWork{std::move(batch), {}};
  }
  if (batch.status == BatchStatus::kValidating) batch.enter(BatchStatus::kInProgress, time_s);
  TG_TRY(book.update(batch));
  TG_ASSIGN(std::vector<i64> done, book.lines_done(batch.id));
  std::erase_if(input.lines, [&](const BatchLine& line) {
    return std::binary_search(done.begin(), done.end(), line.number);
  });
  return BatchWork{std::move(batch), std::move(input.lines)};
}

// Lines that the window or a cancel left out get an entry in the error file.
Status finish_work(BatchBook& book, Batch& batch, const std::vector<BatchLine>& left,
                   std::pair<std::string, std::string> file_ids, i64 time_s) {
  bool is_cancelled = batch.status == BatchStatus::kCancelling;
  std::string_view code = is_cancelled ? "batch_cancelled" : "batch_expired";
  for (const BatchLine& line : left) {
    std::string id = "batch_req_" + to_hex(sha256(batch.id + line.custom_id)).substr(0, 32);
    std::string text = skipped_line_json(line, id, code, "the batch ended before this request");
    TG_TRY(book.put_result(batch.id,
                           {.line = line.number, .is_failure = true, .text = std::move(text)}));
  }
  batch.enter(is_cancelled   ? BatchStatus::kCancelled
              : left.empty() ? BatchStatus::kCompleted
                             : BatchStatus::kExpired,
              time_s);
  StoredFile output{.id = file_ids.first,
                    .owner = batch.owner,
                    .filename = batch.id + "_output.jsonl",
                    .purpose = "batch_output",
                    .created_s = time_s};
  if (batch.output_life_s > 0) output.expires_s = time_s + batch.output_life_s;
  StoredFile errors = output;
  errors.id = file_ids.second;
  errors.filename = batch.id + "_error.jsonl";
  return book.finish(batch, output, errors);
}

awaitable<void> finish_batch(GatewayState* state, std::shared_ptr<Progress> progress) {
  std::shared_ptr<BatchRun> run = progress->run;
  run->is_finishing = true;
  if (run->is_cancelled) run->batch.enter(BatchStatus::kCancelling, now_s(*state));
  if (!run->is_cancelled) run->batch.enter(BatchStatus::kFinalizing, now_s(*state));
  std::pair<std::string, std::string> ids(new_id(*state, "file-"), new_id(*state, "file-"));
  std::vector<BatchLine> left = std::move(progress->lines);
  auto finish = [batch = run->batch, left = std::move(left), ids,
                 time_s = now_s(*state)](BatchBook& book) mutable -> Result<Batch> {
    TG_ASSIGN(std::vector<i64> done, book.lines_done(batch.id));
    std::erase_if(left, [&](const BatchLine& line) {
      return std::binary_search(done.begin(), done.end(), line.number);
    });
    TG_TRY(finish_work(book, batch, left, ids, time_s));
    return batch;
  };
  Result<Batch> done = co_await with_book<Result<Batch>>(state, std::move(finish));
  if (!done.ok()) log_error("gateway", "{}: {}", run->batch.id, done.error().message);
}

awaitable<void> run_batch(GatewayState* state, std::shared_ptr<BatchRun> run) {
  std::string id = run->batch.id;
  auto prepare = [batch = run->batch, time_s = now_s(*state)](BatchBook& book) mutable {
    return prepare_work(book, std::move(batch), time_s);
  };
  Result<BatchWork> work = co_await with_book<Result<BatchWork>>(state, std::move(prepare));
  if (!work.ok()) log_error("gateway", "{}: {}", id, work.error().message);
  if (!work.ok() || work->batch.status == BatchStatus::kFailed) {
    state->batch_runs.erase(id);
    co_return;
  }
  std::shared_ptr<Progress> progress = std::make_shared<Progress>(state->io);
  run->batch = std::move(work->batch);
  progress->run = run;
  progress->lines = std::move(work->lines);
  progress->workers = kLinesAtOnce;
  for (i64 i = 0; i < kLinesAtOnce; ++i)
    asio::co_spawn(state->io, run_lines(state, progress), log_exception);
  while (progress->workers > 0) {
    progress->signal.expires_at(asio::steady_timer::time_point::max());
    error_code ignored;
    co_await progress->signal.async_wait(asio::redirect_error(asio::use_awaitable, ignored));
  }
  // Otherwise it goes on at the next start.
  bool may_finish = !progress->has_failed && (!state->is_draining || run->is_cancelled);
  if (may_finish) co_await finish_batch(state, progress);
  state->batch_runs.erase(id);
}

void begin_run(GatewayState* state, Batch batch) {
  std::shared_ptr<BatchRun> run = std::make_shared<BatchRun>();
  run->is_cancelled = batch.status == BatchStatus::kCancelling;
  run->batch = std::move(batch);
  state->batch_runs[run->batch.id] = run;
  asio::co_spawn(state->io, run_batch(state, std::move(run)), log_exception);
}

// ---- batches ------------------------------------------------------------------------------------

Problem read_metadata(dom::element value, std::string& out) {
  dom::object object;
  if (value.get(object) != simdjson::SUCCESS) return wrong_type("metadata", "an object", value);
  bool fits = static_cast<i64>(object.size()) <= kMetadataMax;
  for (dom::key_value_pair field : object) {
    std::string_view text;
    fits = fits && field.key.size() <= 64 && field.value.get(text) == simdjson::SUCCESS &&
           text.size() <= 512;
  }
  if (!fits)
    return invalid_value("metadata", "'metadata' holds at most 16 texts of at most 512 bytes");
  out = json_text(value);
  return std::nullopt;
}

Problem read_output_life(dom::element value, i64& out) {
  constexpr std::string_view kName = "output_expires_after";
  if (!value.is_object()) return wrong_type(kName, "an object", value);
  std::string_view anchor;
  bool is_anchored = value["anchor"].get(anchor) == simdjson::SUCCESS && anchor == "created_at";
  if (!is_anchored)
    return invalid_value(std::string(kName),
                         "'output_expires_after.anchor' must be \"created_at\"");
  if (is_absent(value["seconds"])) return missing_field("output_expires_after.seconds");
  return read_integer("output_expires_after.seconds", value["seconds"].value_unsafe(),
                      {kFileLifeMinS, kFileLifeMaxS}, out);
}

Problem read_batch(std::string_view body, Batch& out) {
  dom::parser parser;
  dom::object object;
  if (Problem problem = parse_object(parser, body, object)) return problem;
  std::string window;
  for (dom::key_value_pair field : object) {
    Problem problem;
    if (field.key == "input_file_id")
      problem = read_string("input_file_id", field.value, out.input_file);
    if (field.key == "endpoint") problem = read_string("endpoint", field.value, out.endpoint);
    if (field.key == "completion_window")
      problem = read_string("completion_window", field.value, window);
    if (field.key == "metadata" && !field.value.is_null())
      problem = read_metadata(field.value, out.metadata);
    if (field.key == "output_expires_after" && !field.value.is_null())
      problem = read_output_life(field.value, out.output_life_s);
    if (problem) return problem;
  }
  if (out.input_file.empty()) return missing_field("input_file_id");
  if (window != "24h")
    return invalid_value("completion_window", "'completion_window' must be \"24h\"");
  if (is_batch_endpoint(out.endpoint)) return std::nullopt;
  return invalid_value("endpoint", fmt::format("'endpoint' cannot be '{}': batches run "
                                               "/v1/chat/completions, /v1/completions, "
                                               "/v1/responses and /v1/embeddings",
                                               out.endpoint.substr(0, 100)));
}

awaitable<Served> create_batch(GatewayState* state, HttpRequest request, KeyInfo key) {
  std::optional<ApiError> refused = check_admission(*state, request, key);
  if (refused) co_return refusal(*std::move(refused));
  Batch batch;
  if (Problem problem = read_batch(request.body, batch)) co_return refusal(*std::move(problem));
  batch.id = new_id(*state, "batch_");
  batch.owner = owner_of(key);
  batch.key = key.id;
  batch.enter(BatchStatus::kValidating, now_s(*state));
  batch.expires_s = now_s(*state) + kWindowSeconds;
  auto put = [batch](BatchBook& book) -> Status {
    TG_ASSIGN(StoredFile input, book.file(batch.input_file, batch.owner));
    if (input.purpose != "batch")
      return Error{Code::kInvalid, "the input file's purpose is not \"batch\""};
    return book.put_batch(batch);
  };
  Status done = co_await with_book<Status>(state, std::move(put));
  if (!done.ok()) co_return refusal(done.error());
  std::string json = batch_json(batch);
  begin_run(state, std::move(batch));
  co_return page(std::move(json));
}

awaitable<Served> list_batches(GatewayState* state, std::string target, std::string owner) {
  Result<ListQuery> query = list_query(target, kListMax);
  if (!query.ok()) co_return refusal(query.error());
  i64 limit = query->limit;
  auto list = [owner, wanted = *query](BatchBook& book) { return book.batches(owner, wanted); };
  Result<std::vector<Batch>> all =
      co_await with_book<Result<std::vector<Batch>>>(state, std::move(list));
  if (!all.ok()) co_return refusal(all.error());
  for (Batch& batch : *all) {
    auto open = state->batch_runs.find(batch.id);
    if (open != state->batch_runs.end()) batch = open->second->batch;
  }
  co_return page(list_of(std::move(*all), limit, batch_json));
}

// As it is now: what runs is known better here than in the book.
awaitable<Result<Batch>> find_batch(GatewayState* state, std::string id, std::string owner) {
  auto find = [id, owner](BatchBook& book) { return book.batch(id, owner); };
  Result<Batch> batch = co_await with_book<Result<Batch>>(state, std::move(find));
  auto open = state->batch_runs.find(id);
  if (batch.ok() && open != state->batch_runs.end() && !is_over(batch->status))
    batch = open->second->batch;
  co_return batch;
}

awaitable<Served> cancel_batch(GatewayState* state, std::string id, std::string owner) {
  Result<Batch> batch = co_await find_batch(state, id, owner);
  if (!batch.ok()) co_return refusal(batch.error());
  auto open = state->batch_runs.find(id);
  bool is_running = open != state->batch_runs.end() && !open->second->is_finishing;
  if (!is_running) {
    co_return refusal(ApiError{.status = 409,
                               .message = fmt::format("the batch is {}", name(batch->status)),
                               .code = "batch_not_running",
                               .is_final = true});
  }
  std::shared_ptr<BatchRun> run = open->second;
  run->is_cancelled = true;
  if (run->batch.status != BatchStatus::kCancelling)
    run->batch.enter(BatchStatus::kCancelling, now_s(*state));
  Batch now = run->batch;
  auto note = [now](BatchBook& book) { return book.update(now); };
  Status done = co_await with_book<Status>(state, std::move(note));
  if (!done.ok()) co_return refusal(done.error());
  co_return page(batch_json(now));
}

awaitable<Served> show_batch(GatewayState* state, std::string id, std::string owner) {
  Result<Batch> batch = co_await find_batch(state, std::move(id), std::move(owner));
  if (!batch.ok()) co_return refusal(batch.error());
  co_return page(batch_json(*batch));
}

awaitable<Served> dispatch(GatewayState* state, HttpRequest request, const Route& route,
                           KeyInfo key) {
  std::string owner = owner_of(key);
  bool is_post = request.method == "POST";
  switch (route.endpoint) {
    case Endpoint::kFiles:
      if (is_post) return upload_file(state, std::move(request), std::move(key));
      return list_files(state, std::move(request.target), std::move(owner));
    case Endpoint::kFile:
      return one_file(state, std::move(request.method), route.argument, std::move(owner));
    case Endpoint::kFileContent: return file_content(state, route.argument, std::move(owner));
    case Endpoint::kBatches:
      if (is_post) return create_batch(state, std::move(request), std::move(key));
      return list_batches(state, std::move(request.target), std::move(owner));
    case Endpoint::kBatchCancel: return cancel_batch(state, route.argument, std::move(owner));
    default: return show_batch(state, route.argument, std::move(owner));
  }
}

}  // namespace

bool is_batch_page(Endpoint endpoint) {
  return endpoint == Endpoint::kFiles || endpoint == Endpoint::kFile ||
         endpoint == Endpoint::kFileContent || endpoint == Endpoint::kBatches ||
         endpoint == Endpoint::kBatch || endpoint == Endpoint::kBatchCancel;
}

awaitable<Served> serve_batches(GatewayState* state, HttpRequest request, Route route,
                                KeyInfo key) {
  if (state->batches == nullptr || state->replies == nullptr)
    co_return refusal(unsupported("", "this server keeps no files and batches"));
  awaitable<Served> work = dispatch(state, std::move(request), route, std::move(key));
  Served served = co_await std::move(work);
  co_return served;
}

awaitable<void> resume_batches(GatewayState* state) {
  if (state->batches == nullptr) co_return;
  auto list = [](BatchBook& book) { return book.open_batches(); };
  Result<std::vector<Batch>> open =
      co_await with_book<Result<std::vector<Batch>>>(state, std::move(list));
  if (!open.ok()) {
    log_error("gateway", "batches cannot go on: {}", open.error().message);
    co_return;
  }
  for (Batch& batch : *open) {
    if (!state->batch_runs.contains(batch.id)) begin_run(state, std::move(batch));
  }
}

}  // namespace tg::gateway
