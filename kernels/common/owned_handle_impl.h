#pragma once
// Descriptors of vendor libraries.

namespace gpunn::detail {

/// A descriptor and its end.
template <class T, class Status>
class OwnedHandle {
 public:
  using Destroy = Status (*)(T);
  explicit OwnedHandle(Destroy destroy) : destroy_(destroy) {}
  ~OwnedHandle() {
    if (value_) destroy_(value_);
  }
  OwnedHandle(const OwnedHandle&) = delete;
  OwnedHandle& operator=(const OwnedHandle&) = delete;
  T* out() { return &value_; }
  T get() const { return value_; }

 private:
  Destroy destroy_;
  T value_ = nullptr;
};

}  // namespace gpunn::detail
