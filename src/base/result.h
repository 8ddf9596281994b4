// Result<T>: a value, or an Error that says in one line what failed, with the value that was wrong.
// Used where the world can fail; domain outcomes are enums, our own mistakes are assertions
// (STYLE.md).
#pragma once

#include <optional>
#include <string>
#include <utility>
#include <variant>

#include "base/assert.h"

namespace tg {

enum class Code {
  kInvalid,      // The input is wrong: a field, a flag, a file's content.
  kCorrupt,      // Stored bytes contradict themselves.
  kNotFound,     // The named thing does not exist.
  kExists,       // The named thing exists already.
  kUnsupported,  // Understood, but not something this build does.
  kLimit,        // A published limit was exceeded.
  kDenied,       // Not allowed.
  kUnavailable,  // Busy, gone or full now; may work later.
  kIo,           // The operating system refused.
};

// Stable lower-case name of a code, for logs and JSON.
const char* code_name(Code code);

struct Error {
  Code code = Code::kInvalid;
  std::string message;
};

template <typename T>
class [[nodiscard]] Result {
 public:
  Result(T value) : state_(std::in_place_index<0>, std::move(value)) {}
  Result(Error error) : state_(std::in_place_index<1>, std::move(error)) {}

  bool ok() const { return state_.index() == 0; }
  explicit operator bool() const { return ok(); }

  // REQUIRES: ok().
  T& value() & {
    TG_ASSERT(ok());
    return *std::get_if<0>(&state_);
  }
  const T& value() const& {
    TG_ASSERT(ok());
    return *std::get_if<0>(&state_);
  }
  T&& value() && {
    TG_ASSERT(ok());
    return std::move(*std::get_if<0>(&state_));
  }
  T& operator*() & { return value(); }
  const T& operator*() const& { return value(); }
  T&& operator*() && { return std::move(*this).value(); }
  T* operator->() { return &value(); }
  const T* operator->() const { return &value(); }

  // REQUIRES: !ok().
  const Error& error() const& {
    TG_ASSERT(!ok());
    return *std::get_if<1>(&state_);
  }
  Error&& error() && {
    TG_ASSERT(!ok());
    return std::move(*std::get_if<1>(&state_));
  }

 private:
  std::variant<T, Error> state_;
};

// A Result that carries nothing but success.
class [[nodiscard]] Status {
 public:
  Status() = default;
  Status(Error error) : error_(std::move(error)) {}

  bool ok() const { return !error_.has_value(); }
  explicit operator bool() const { return ok(); }
  // REQUIRES: !ok().
  const Error& error() const& {
    TG_ASSERT(!ok());
    return *error_;
  }
  Error&& error() && {
    TG_ASSERT(!ok());
    return std::move(*error_);
  }

 private:
  std::optional<Error> error_;
};

}  // namespace tg

#define TG_CONCAT_INNER(a, b) a##b
#define TG_CONCAT(a, b) TG_CONCAT_INNER(a, b)

// Evaluates a Status or Result<T>; returns its error from the enclosing function if it failed.
#define TG_TRY(expression)                                            \
  do {                                                                \
    auto tg_try_result = (expression);                                \
    if (!tg_try_result.ok()) return std::move(tg_try_result).error(); \
  } while (false)

// TG_ASSIGN(u64 n, reader.u64_le()) declares n, or returns the error.
#define TG_ASSIGN(declaration, expression) \
  TG_ASSIGN_INNER(TG_CONCAT(tg_assign_, __LINE__), declaration, expression)
#define TG_ASSIGN_INNER(name, declaration, expression) \
  auto name = (expression);                            \
  if (!name.ok()) return std::move(name).error();      \
  declaration = std::move(name).value()
