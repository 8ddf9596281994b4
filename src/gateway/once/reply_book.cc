#include "gateway/once/reply_book.h"

#include <algorithm>

#include "base/assert.h"
#include "gateway/sqlite.h"

namespace tg::gateway {
namespace {

constexpr i64 kForgetEveryNs = i64{60} * 1'000'000'000;
constexpr i64 kVersion = 1;

enum Stage : i64 { kOpen = 0, kCharging = 1, kDone = 2 };

constexpr const char* kSchema = R"(
PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL;
CREATE TABLE IF NOT EXISTS replies (
  name BLOB PRIMARY KEY, request BLOB NOT NULL, request_id TEXT NOT NULL, stage INTEGER NOT NULL,
  begun_ns INTEGER NOT NULL, status INTEGER NOT NULL DEFAULT 0,
  content_type TEXT NOT NULL DEFAULT '', headers TEXT NOT NULL DEFAULT '',
  body BLOB NOT NULL DEFAULT '') WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS replies_by_age ON replies (begun_ns);
PRAGMA user_version = 1;
)";

// Neither names nor values hold line breaks: they were headers.
std::string headers_text(const KeptReply& reply) {
  std::string out;
  for (const auto& [name, value] : reply.headers) out += name + ":" + value + "\n";
  return out;
}

std::vector<std::pair<std::string, std::string>> headers_of(std::string_view text) {
  std::vector<std::pair<std::string, std::string>> out;
  while (!text.empty()) {
    std::size_t end = std::min(text.find('\n'), text.size());
    std::string_view line = text.substr(0, end);
    text.remove_prefix(std::min(end + 1, text.size()));
    std::size_t colon = line.find(':');
    if (colon != line.npos) out.emplace_back(line.substr(0, colon), line.substr(colon + 1));
  }
  return out;
}

Status run(Statement& statement) {
  TG_ASSIGN(bool has_row, statement.step());
  TG_ASSERT(!has_row);
  return {};
}

}  // namespace

struct ReplyBook::State {
  Database db;
  i64 bytes_max = 0;
  i64 bytes = 0;  // Of all bodies.
  i64 forgotten_ns = 0;
};

ReplyBook::ReplyBook(std::unique_ptr<State> state) : state_(std::move(state)) {}
ReplyBook::~ReplyBook() = default;

Result<std::unique_ptr<ReplyBook>> ReplyBook::open(const std::string& directory, i64 bytes_max) {
  TG_ASSIGN(Database db, open_store(directory, "replies.db", kSchema, kVersion));
  TG_ASSIGN(i64 bytes, db.integer("SELECT coalesce(sum(length(body)), 0) FROM replies"));
  return std::unique_ptr<ReplyBook>(new ReplyBook(
      std::make_unique<State>(State{.db = std::move(db), .bytes_max = bytes_max, .bytes = bytes})));
}

Result<ReplyBook::Begun> ReplyBook::begin(const Digest& name, const Digest& request,
                                          std::string_view request_id, Timestamp now) {
  TG_TRY(forget_old(now));
  TG_ASSIGN(Statement insert,
            state_->db.prepare("INSERT OR IGNORE INTO replies (name, request, request_id, stage, "
                               "begun_ns) VALUES (?, ?, ?, 0, ?)"));
  insert.blob(name).blob(request).text(request_id).integer(now.ns);
  TG_TRY(run(insert));
  return read(name, request, request_id);
}

Result<ReplyBook::Begun> ReplyBook::read(const Digest& name, const Digest& request,
                                         std::string_view request_id) {
  TG_ASSIGN(Statement select,
            state_->db.prepare("SELECT request, request_id, stage, status, content_type, headers, "
                               "body FROM replies WHERE name = ?"));
  TG_ASSIGN(bool has_row, select.blob(name).step());
  if (!has_row) return Error{Code::kIo, "replies.db: an entry that was just made is gone"};
  Begun begun{.request_id = select.text_at(1)};
  std::string wanted(reinterpret_cast<const char*>(request.data()), request.size());
  if (select.text_at(0) != wanted) {
    begun.state = Begun::State::kConflict;
    return begun;
  }
  i64 stage = select.integer_at(2);
  if (stage == kCharging) begun.state = Begun::State::kInterrupted;
  if (stage == kDone) {
    begun.state = Begun::State::kDone;
    begun.reply = {.status = static_cast<i32>(select.integer_at(3)),
                   .content_type = select.text_at(4),
                   .headers = headers_of(select.text_at(5)),
                   .body = select.text_at(6)};
  }
  if (stage != kOpen || begun.request_id == request_id) return begun;
  begun.request_id = request_id;
  TG_ASSIGN(Statement update,
            state_->db.prepare("UPDATE replies SET request_id = ? WHERE name = ?"));
  update.text(request_id).blob(name);
  TG_TRY(run(update));
  return begun;
}

Status ReplyBook::charge(const Digest& name) {
  TG_ASSIGN(Statement update, state_->db.prepare("UPDATE replies SET stage = 1 WHERE name = ?"));
  return run(update.blob(name));
}

Status ReplyBook::finish(const Digest& name, const KeptReply& reply) {
  TG_ASSIGN(Statement update,
            state_->db.prepare("UPDATE replies SET stage = 2, status = ?, content_type = ?, "
                               "headers = ?, body = ? WHERE name = ?"));
  update.integer(reply.status).text(reply.content_type).text(headers_text(reply));
  update.blob({reinterpret_cast<const u8*>(reply.body.data()), reply.body.size()}).blob(name);
  TG_TRY(run(update));
  state_->bytes += static_cast<i64>(reply.body.size());
  return {};
}

Status ReplyBook::drop(const Digest& name) {
  TG_ASSIGN(Statement remove, state_->db.prepare("DELETE FROM replies WHERE name = ?"));
  return run(remove.blob(name));
}

// What is over a day old; and if bodies take too much room, the oldest that have ended.
Status ReplyBook::forget_old(Timestamp now) {
  bool is_full = state_->bytes > state_->bytes_max;
  if (!is_full && now.ns - state_->forgotten_ns < kForgetEveryNs) return {};
  state_->forgotten_ns = now.ns;
  TG_ASSIGN(Statement remove, state_->db.prepare("DELETE FROM replies WHERE begun_ns < ?"));
  TG_TRY(run(remove.integer(now.ns - kAgeNsMax)));
  constexpr const char* kSum = "SELECT coalesce(sum(length(body)), 0) FROM replies";
  TG_ASSIGN(state_->bytes, state_->db.integer(kSum));
  while (state_->bytes > state_->bytes_max) {
    TG_TRY(state_->db.execute(
        "DELETE FROM replies WHERE name IN "
        "(SELECT name FROM replies WHERE stage = 2 ORDER BY begun_ns LIMIT 64)"));
    TG_ASSIGN(i64 left, state_->db.integer(kSum));
    if (left == state_->bytes) break;
    state_->bytes = left;
  }
  return {};
}

}  // namespace tg::gateway
