#include "gateway/net/gateway_state.h"

#include <array>
#include <utility>

#include "base/bytes.h"

namespace tg::gateway {

// Room for a burst of every running request's events while the loop is busy elsewhere.
constexpr i64 kSupplierEventsMax = 65'536;

// The one entry for what several lend in common; null if there is nothing.
static Tended* tended_for(GatewayState& state, LentWork* work) {
  std::vector<std::unique_ptr<Tended>>& all = state.tended;
  if (work == nullptr) return nullptr;
  for (const std::unique_ptr<Tended>& known : all) {
    if (known->work == work) return known.get();
  }
  all.push_back(std::make_unique<Tended>(state, work));
  return all.back().get();
}

GatewayState::GatewayState(ServerOptions server_options, ServerParts parts)
    : options(std::move(server_options)),
      models(std::move(parts.models)),
      model_metrics(models.size()),
      budgets(parts.budgets),
      leases(parts.leases),
      admin(std::move(parts.admin)),
      replies(std::move(parts.replies)),
      batches(std::move(parts.batches)),
      billing(std::move(parts.billing)),
      clock(parts.clock),
      random(parts.random),
      supplier_events(std::make_shared<Mailbox<fleet::SupplierEvent>>(kSupplierEventsMax)),
      // Answers, and as many notices.
      billing_replies(std::make_shared<Mailbox<BillingReply>>(2 * kBillingCommandsMax)),
      near_events(std::make_shared<Mailbox<fleet::SupplierEvent>>(kSupplierEventsMax)),
      near_replies(std::make_shared<Mailbox<BillingReply>>(2 * kBillingCommandsMax)),
      tended_billing(tended_for(*this, billing.work())),
      loop(parts.loop),
      io(loop.context()) {
  for (ServedModel& model : models) {
    describe(model);
    turns.push_back(std::make_unique<Turns>(model.slots_max));
    tended_suppliers.push_back(tended_for(*this, model.supplier->lent_work()));
  }
}

std::string new_id(GatewayState& state, std::string_view prefix) {
  std::array<u8, 16> bytes;
  state.random.fill(bytes);
  return std::string(prefix) + to_hex(std::span<const u8>(bytes));
}

}  // namespace tg::gateway
