// What this folder's tests of whole backends share.
#pragma once

#include <gtest/gtest.h>

#include <string>

#include "conformance/suite.h"

namespace tg::conformance {

inline Report report_of(const std::string& backend, const SuiteOptions& options) {
  Result<backend::Library> library = backend::load_library(backend);
  if (!library) {
    ADD_FAILURE() << library.error().message;
    return {};
  }
  Result<Claims> claims = read_claims({.library = *library, .device = 0});
  if (!claims) {
    ADD_FAILURE() << claims.error().message;
    return {};
  }
  SystemClock clock;
  Result<Report> report = run_suite(*claims, options, clock);
  if (!report) {
    ADD_FAILURE() << report.error().message;
    return {};
  }
  return std::move(report).value();
}

// The text of the report's first failures, for messages.
inline std::string failures_of(const Report& report) {
  std::string out;
  for (const Failure& f : report.failures) out += f.where + ": " + f.what + "\n";
  return out.substr(0, 2'000);
}

}  // namespace tg::conformance
