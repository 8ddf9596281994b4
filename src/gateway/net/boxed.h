// A value that may be missing and lies elsewhere: what a coroutine holds for as long as a stream
// lasts, and seldom needs, takes a pointer's room in its frame.
#pragma once

#include <memory>
#include <utility>

namespace tg::gateway {

template <typename T>
class Boxed {
 public:
  Boxed() = default;
  Boxed(T value) : value_(std::make_unique<T>(std::move(value))) {}

  explicit operator bool() const { return value_ != nullptr; }
  // REQUIRES: there is a value.
  T& operator*() const { return *value_; }
  T* operator->() const { return value_.get(); }
  void reset() { value_.reset(); }

 private:
  std::unique_ptr<T> value_;
};

}  // namespace tg::gateway
