// Responses that their clients asked to keep ("store": true), to be read back, deleted or
// continued. In memory and bounded: the oldest go first, and none outlives the process. Nothing is
// kept unasked.
#pragma once

#include <list>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "env/clock.h"
#include "gateway/billing.h"
#include "gateway/completion_request.h"

namespace tg::gateway {

struct StoredResponse {
  std::string id;
  AccountRef account = 0;
  std::string json;               // The response object.
  std::string input;              // Its input items, a JSON array.
  std::vector<Message> messages;  // The conversation up to and with its output, no instructions.
};

// One thread.
class ResponseStore {
 public:
  struct Limits {
    i64 count_max = 4096;
    i64 bytes_max = i64{64} << 20;
    i64 age_ns_max = i64{3'600} * 1'000'000'000;
  };
  ResponseStore() = default;
  explicit ResponseStore(Limits limits) : limits_(limits) {}

  // One larger than the whole store is not kept.
  void put(StoredResponse response, Timestamp now);
  // Null for unknown, expired and other accounts' ones. Valid until the store changes.
  const StoredResponse* find(std::string_view id, AccountRef account, Timestamp now);
  // False if there is none.
  bool erase(std::string_view id, AccountRef account, Timestamp now);
  i64 count() const { return static_cast<i64>(entries_.size()); }

 private:
  struct Entry {
    StoredResponse response;
    i64 bytes = 0;
    Timestamp stored;
  };
  void drop(std::list<Entry>::iterator entry);
  void drop_old(Timestamp now);

  Limits limits_;
  std::list<Entry> entries_;  // Oldest first.
  std::unordered_map<std::string, std::list<Entry>::iterator> by_id_;
  i64 bytes_ = 0;
};

}  // namespace tg::gateway
