#include "apps/admin_call.h"

#include <fmt/format.h>

#include "apps/ask.h"
#include "env/clock.h"
#include "gateway/admin/api.h"

namespace tg::apps {

namespace {

class DirectoryDesk final : public gateway::LedgerDesk {
 public:
  explicit DirectoryDesk(const DataDirectory& data) : data_(data) {}

  Result<std::string> ask(const std::string& command) override {
    TG_ASSIGN(nlohmann::json answer, apps::ask(data_, command));
    return answer.dump();
  }

 private:
  const DataDirectory& data_;
};

Code code_of(i32 status) {
  if (status == 404) return Code::kNotFound;
  return status == 409 ? Code::kExists : Code::kInvalid;
}

}  // namespace

Result<nlohmann::json> call_admin(const AdminCall& call) {
  OsRandom random;
  SystemClock clock;
  TG_ASSIGN(DataDirectory data, existing_data_directory(call.data));
  TG_ASSIGN(std::unique_ptr<gateway::KeyStore> store, gateway::KeyStore::open(data.path, random));
  DirectoryDesk desk(data);
  gateway::AdminApi api(std::move(store), desk, clock);
  gateway::AdminRequest request{.method = call.method,
                                .target = std::string(gateway::kAdminPrefix) + call.path,
                                .body = call.body.is_null() ? "" : call.body.dump()};
  gateway::ApiResult<gateway::HttpResponse> answer = api.answer(request, {});
  if (const gateway::ApiError* error = std::get_if<gateway::ApiError>(&answer)) {
    return Error{code_of(error->status), error->message};
  }
  return nlohmann::json::parse(std::get<gateway::HttpResponse>(answer).body);
}

std::string path_segment(std::string_view text) {
  std::string out;
  for (char c : text) {
    bool is_plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                    c == '-' || c == '_' || c == '.';
    out += is_plain ? std::string(1, c) : fmt::format("%{:02X}", static_cast<u8>(c));
  }
  return out;
}

}  // namespace tg::apps
