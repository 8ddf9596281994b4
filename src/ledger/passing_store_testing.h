// A store that passes on to another what a test or benchmark does not look at. Snapshots are not
// passed on: none is ever wanted.
#pragma once

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "ledger/store.h"

namespace tg::ledger {

class PassingStore : public Store {
 public:
  explicit PassingStore(std::unique_ptr<Store> store) : store_(std::move(store)) {}
  Result<AuditReport> load(StateMachine& machine) override { return store_->load(machine); }
  Result<AuditReport> replay(StateMachine& machine) override { return store_->replay(machine); }
  Status begin(StateMachine& machine) override { return store_->begin(machine); }
  bool is_shared() const override { return store_->is_shared(); }
  bool is_own(u64 entry) const override { return store_->is_own(entry); }
  Status commit(const Effects& effects, std::span<DocumentWrite> documents) override {
    return store_->commit(effects, documents);
  }
  void stage(const Effects& effects, std::span<DocumentWrite> documents) override {
    store_->stage(effects, documents);
  }
  void seal() override { store_->seal(); }
  Status sync() override { return store_->sync(); }
  bool keeps_balances() const override { return store_->keeps_balances(); }
  Result<std::string> read_document(u128 id) override { return store_->read_document(id); }
  Result<std::vector<StoredDocument>> documents_after(u64 sequence, i64 limit) override {
    return store_->documents_after(sequence, limit);
  }
  Status check_medium() override { return store_->check_medium(); }

 private:
  std::unique_ptr<Store> store_;
};

}  // namespace tg::ledger
