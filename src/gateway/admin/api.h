// The admin API as values: a request below /admin/v1 in, JSON out. The gateway serves it, and the
// command line does everything that administers a gateway through it.
#pragma once

#include <memory>
#include <string>
#include <string_view>

#include "env/clock.h"
#include "gateway/http.h"
#include "gateway/keys.h"

namespace tg::gateway {

inline constexpr std::string_view kAdminPrefix = "/admin/v1";

// Who knows balances: the books in this process, or those of the server that owns the directory.
class LedgerDesk {
 public:
  virtual ~LedgerDesk() = default;
  // One command of books.h; one line of JSON.
  virtual Result<std::string> ask(const std::string& command) = 0;
};

struct AdminRequest {
  std::string method;
  std::string target;  // Path and query.
  std::string body;
};

// What the running gateway says of itself; of a directory without a server, nothing.
struct GatewayReport {
  std::string models = R"({"object":"list","data":[]})";
  std::string health = R"({"status":"stopped"})";
  std::string autoscale;  // of its pool of suppliers; "": nobody decides how many there are
};

class AdminHandlers;

class AdminApi {
 public:
  static constexpr i64 kBodyBytesMax = 64 * 1024;

  // Desk and clock outlive it.
  AdminApi(std::unique_ptr<KeyStore> store, LedgerDesk& desk, Clock& clock);
  ~AdminApi();
  AdminApi(const AdminApi&) = delete;
  AdminApi& operator=(const AdminApi&) = delete;

  // Waits for disks and the ledger: not for event loops. One thread at a time.
  ApiResult<HttpResponse> answer(const AdminRequest& request, const GatewayReport& report);

 private:
  std::unique_ptr<AdminHandlers> handlers_;
};

}  // namespace tg::gateway
