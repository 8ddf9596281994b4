// Fields of the admin API's bodies as values, and values as its objects.
#pragma once

#include <nlohmann/json.hpp>

#include "gateway/keys.h"

namespace tg::gateway {

// "2027-01-31" or "2027-01-31T12:00:00Z", UTC.
Result<Timestamp> parse_time(const std::string& text);

// A body's fields, each of which must be asked for: finish() names what nobody wanted.
class Fields {
 public:
  // kInvalid unless it is an object.
  static Result<Fields> of(const nlohmann::json& body);

  // nullopt if it is absent; kInvalid names field and type.
  Result<std::optional<std::string>> text(const char* name);
  Result<std::optional<i64>> integer(const char* name);
  Result<std::optional<bool>> boolean(const char* name);
  Result<std::optional<std::vector<std::string>>> texts(const char* name);
  // Null and absent are told apart: the outer optional is whether it is there.
  Result<std::optional<std::optional<std::string>>> nullable_text(const char* name);
  const nlohmann::json* object(const char* name);
  Status finish() const;

 private:
  explicit Fields(const nlohmann::json& body) : body_(&body) {}
  const nlohmann::json* take(const char* name);
  const nlohmann::json* body_;
  std::vector<std::string> taken_;
};

// The fields that keys and units share and that may change. Absent limits stay as `base` has them.
Result<SubjectChange> read_change(Fields& fields, const RateLimits& base);
// A policy from a change, for what is new.
Policy policy_of(const SubjectChange& change, fleet::ServiceClass service);

nlohmann::json unit_json(const Unit& unit);
nlohmann::json key_json(const KeyRecord& key);

}  // namespace tg::gateway
