// What the engines of this process have in common, besides being suppliers.
#pragma once

#include <string>

#include "fleet/supplier.h"

namespace tg::node {

class LocalEngine : public fleet::Supplier {
 public:
  virtual const std::string& device_name() const = 0;
  virtual i64 context_max() const = 0;
  // Requests whose last event has not been sent.
  virtual i64 open() const = 0;
};

}  // namespace tg::node
