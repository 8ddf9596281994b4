// What `tokengrid key`, `project`, `team` and `org` have in common: limits, models, class, weight.
#pragma once

#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "base/types.h"

namespace tg::apps {

struct SubjectOptions {
  std::string data;
  std::string name;  // Or id, where one is meant that exists.
  bool json = false;
  // Given only if their option was.
  std::vector<std::string> models;
  std::string service;
  i64 requests = -1;
  i64 tokens = -1;
  f64 st = -1;
  i64 concurrent = -1;
  i64 weight = -1;
};

// Declares --data and --json.
void add_common(CLI::App& command, SubjectOptions& o);
// Declares the options of a policy; `with_weight` also --weight.
void add_policy(CLI::App& command, SubjectOptions& o, bool with_weight);
// Puts what was given into a body of the admin API.
void put_policy(const SubjectOptions& o, nlohmann::json& body);

// `GROUP budget NAME PERIOD ST [--remove]` and `GROUP budgets NAME`; `path` is "/keys" or the like.
void add_budgets(CLI::App& group, const std::string& path, int& exit_status);

// "limits ..., models ..., class ..." of an object of the admin API, for people.
std::string policy_text(const nlohmann::json& subject);

}  // namespace tg::apps
