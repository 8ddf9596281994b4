#include "gateway/admin/api.h"

#include "gateway/admin/handlers.h"

namespace tg::gateway {

AdminApi::AdminApi(std::unique_ptr<KeyStore> store, LedgerDesk& desk, Clock& clock)
    : handlers_(std::make_unique<AdminHandlers>(std::move(store), desk, clock)) {}
AdminApi::~AdminApi() = default;

ApiResult<HttpResponse> AdminApi::answer(const AdminRequest& request, const GatewayReport& report) {
  return handlers_->answer(request, report);
}

}  // namespace tg::gateway
