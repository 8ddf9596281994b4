// Any bytes as target and body of every operation of the admin API: JSON or a refusal in JSON,
// never a crash. The first byte chooses the operation, the first line is its query, the rest its
// body.
#include <cstdlib>
#include <filesystem>

#include "base/assert.h"
#include "base/bytes.h"
#include "gateway/admin/api.h"
#include "gateway/admin/handlers.h"

namespace tg::gateway {
namespace {

// Knows every account and takes every command.
class EasyDesk final : public LedgerDesk {
 public:
  Result<std::string> ask(const std::string& command) override {
    if (command.starts_with("receipts ")) return std::string(R"({"receipts":[],"last":2})");
    return std::string(R"({"balance_nst":1,"held_nst":0,"spent_nst":0,"granted_nst":1})");
  }
};

// A gateway's database with one of everything, in memory if the system has such a folder. What the
// fuzzer adds is thrown away now and then.
class Place {
 public:
  Place() {
    std::filesystem::path root = std::filesystem::temp_directory_path();
    if (std::filesystem::is_directory("/dev/shm")) root = "/dev/shm";
    std::string pattern = (root / "tg_admin_fuzz_XXXXXX").string();
    TG_ASSERT(::mkdtemp(pattern.data()) != nullptr);
    folder_ = pattern;
    std::unique_ptr<KeyStore> keys = KeyStore::open(folder_, random_).value();
    key_ = keys->create({.name = "k", .account = "a"}, clock_.now()).value().info.id;
    unit_ = keys->list().value().front().project;
    api_ = std::make_unique<AdminApi>(std::move(keys), desk_, clock_);
  }
  ~Place() {
    api_.reset();
    std::error_code ignored;
    std::filesystem::remove_all(folder_, ignored);
  }

  // The operation's path with something that exists in place of its arguments.
  std::string path_of(const AdminHandlers::Operation& operation, bool is_known) const {
    std::string path = operation.path;
    for (std::size_t at = path.find('{'); at != path.npos; at = path.find('{')) {
      std::size_t end = path.find('}', at);
      std::string_view name(path.data() + at + 1, end - at - 1);
      std::string value = name == "key" ? key_ : name == "period" ? "month" : unit_;
      if (name == "account") value = "a";
      path.replace(at, end - at + 1, is_known ? value : "none");
    }
    return path;
  }
  AdminApi& api() { return *api_; }

 private:
  OsRandom random_;
  SystemClock clock_;
  EasyDesk desk_;
  std::string folder_;
  std::string key_;
  std::string unit_;
  std::unique_ptr<AdminApi> api_;
};

void check(const ApiResult<HttpResponse>& result) {
  if (const ApiError* error = std::get_if<ApiError>(&result)) {
    TG_ASSERT(error->status >= 400 && !error->message.empty());
    TG_ASSERT(is_utf8(error_json(*error)));
    return;
  }
  const HttpResponse& response = std::get<HttpResponse>(result);
  TG_ASSERT(response.status >= 200 && response.status < 300);
  TG_ASSERT(nlohmann::json::accept(response.body));
}

}  // namespace
}  // namespace tg::gateway

extern "C" int LLVMFuzzerTestOneInput(const unsigned char* data, size_t size) {
  using namespace tg::gateway;
  constexpr int kRunsMax = 2'000;
  static std::unique_ptr<Place> place;
  static int runs = 0;
  if (size == 0) return 0;
  if (place == nullptr || ++runs % kRunsMax == 0) place = std::make_unique<Place>();
  const std::vector<AdminHandlers::Operation>& all = AdminHandlers::operations();
  const AdminHandlers::Operation& operation = all[(data[0] & 0x7F) % all.size()];
  std::string_view text(reinterpret_cast<const char*>(data + 1), size - 1);
  std::size_t line = std::min(text.find('\n'), text.size());
  AdminRequest request;
  request.method = operation.method;
  request.target = place->path_of(operation, data[0] < 0x80);
  if (line > 0) request.target.append("?").append(text.substr(0, line));
  request.body = std::string(text.substr(std::min(line + 1, text.size())));
  check(place->api().answer(request, {}));
  return 0;
}
