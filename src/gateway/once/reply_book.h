// replies.db: replies that were made under an idempotency key, so that the same request sent again
// gets the same reply and is charged once, after a restart too. Only what clients sent a key with
// is here; of their requests nothing but a SHA-256.
//
// The life of an entry:  begin -> OPEN -> charge -> CHARGING -> finish -> DONE
//                                   \_____________ drop ____________/
// An entry that a stopped process left OPEN has cost nothing and is begun again. One that it left
// CHARGING may have been charged, and its reply is lost: it is never run again.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/hash.h"
#include "base/result.h"
#include "env/clock.h"

namespace tg::gateway {

struct KeptReply {
  i32 status = 200;
  std::string content_type;
  std::vector<std::pair<std::string, std::string>> headers;
  std::string body;
};

// One thread at a time.
class ReplyBook {
 public:
  static constexpr i64 kAgeNsMax = i64{24} * 3'600 * 1'000'000'000;
  static constexpr i64 kBytesMax = i64{1} << 30;  // Of kept bodies; the oldest go first.

  // Opens or creates replies.db in `directory`, mode 0600.
  static Result<std::unique_ptr<ReplyBook>> open(const std::string& directory,
                                                 i64 bytes_max = kBytesMax);
  ~ReplyBook();
  ReplyBook(const ReplyBook&) = delete;
  ReplyBook& operator=(const ReplyBook&) = delete;

  struct Begun {
    enum class State : u8 {
      kNew,          // Run it.
      kConflict,     // The key was used with another request.
      kInterrupted,  // It may have been charged under `request_id`, and its reply is lost.
      kDone,         // Here is the reply.
    };
    State state = State::kNew;
    std::string request_id;  // Of the request that began the entry.
    KeptReply reply;
  };
  // REQUIRES: nobody in this process has the entry open.
  Result<Begun> begin(const Digest& name, const Digest& request, std::string_view request_id,
                      Timestamp now);
  // From here on the request may be charged. Durable when it returns, as are the two below.
  Status charge(const Digest& name);
  Status finish(const Digest& name, const KeptReply& reply);
  Status drop(const Digest& name);

 private:
  struct State;
  explicit ReplyBook(std::unique_ptr<State> state);
  Result<Begun> read(const Digest& name, const Digest& request, std::string_view request_id);
  Status forget_old(Timestamp now);
  std::unique_ptr<State> state_;
};

}  // namespace tg::gateway
