#include "gateway/response_store.h"

namespace tg::gateway {

static i64 bytes_of(const StoredResponse& response) {
  constexpr i64 kOverhead = 512;
  std::size_t bytes = response.json.size() + response.input.size();
  for (const Message& message : response.messages) {
    bytes += sizeof(Message) + message.content.size() + message.reasoning.size();
    for (const ToolCall& call : message.calls) {
      bytes += sizeof(ToolCall) + call.id.size() + call.name.size() + call.arguments.size();
    }
  }
  return static_cast<i64>(bytes) + kOverhead;
}

void ResponseStore::put(StoredResponse response, Timestamp now) {
  drop_old(now);
  i64 bytes = bytes_of(response);
  if (bytes > limits_.bytes_max || by_id_.contains(response.id)) return;
  while (!entries_.empty() &&
         (bytes_ + bytes > limits_.bytes_max || count() >= limits_.count_max)) {
    drop(entries_.begin());
  }
  std::string id = response.id;
  entries_.push_back({.response = std::move(response), .bytes = bytes, .stored = now});
  by_id_.emplace(std::move(id), std::prev(entries_.end()));
  bytes_ += bytes;
}

const StoredResponse* ResponseStore::find(std::string_view id, AccountRef account, Timestamp now) {
  drop_old(now);
  std::unordered_map<std::string, std::list<Entry>::iterator>::iterator found =
      by_id_.find(std::string(id));
  if (found == by_id_.end() || found->second->response.account != account) return nullptr;
  return &found->second->response;
}

bool ResponseStore::erase(std::string_view id, AccountRef account, Timestamp now) {
  if (find(id, account, now) == nullptr) return false;
  drop(by_id_.find(std::string(id))->second);
  return true;
}

void ResponseStore::drop(std::list<Entry>::iterator entry) {
  bytes_ -= entry->bytes;
  by_id_.erase(entry->response.id);
  entries_.erase(entry);
}

void ResponseStore::drop_old(Timestamp now) {
  while (!entries_.empty() && now.ns - entries_.front().stored.ns > limits_.age_ns_max) {
    drop(entries_.begin());
  }
}

}  // namespace tg::gateway
