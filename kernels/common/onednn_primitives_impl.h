#pragma once
// oneDNN's primitives as its entries use them: the library's functions, what is made once for a problem and
// kept, and its execution on one thread with memory that the caller brings.
#include <oneapi/dnnl/dnnl.h>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <initializer_list>
#include <memory>
#include <mutex>
#include <utility>

#include "gpunn/core/error.h"
#include "gpunn/kernels/common/onednn_impl.h"

namespace gpunn::onednn {

/// The library's functions; null members where it could not be opened or is too old.
#define GPUNN_ONEDNN_FUNCTIONS(F)                        \
  F(dnnl_engine_create)                                  \
  F(dnnl_stream_create)                                  \
  F(dnnl_stream_destroy)                                 \
  F(dnnl_memory_create)                                  \
  F(dnnl_memory_destroy)                                 \
  F(dnnl_memory_desc_init_by_tag)                        \
  F(dnnl_memory_desc_equal)                              \
  F(dnnl_memory_desc_get_size)                           \
  F(dnnl_primitive_attr_create)                          \
  F(dnnl_primitive_attr_destroy)                         \
  F(dnnl_primitive_attr_set_scratchpad_mode)             \
  F(dnnl_primitive_desc_create)                          \
  F(dnnl_primitive_desc_destroy)                         \
  F(dnnl_primitive_desc_query_md)                        \
  F(dnnl_reorder_primitive_desc_create)                  \
  F(dnnl_primitive_create)                               \
  F(dnnl_primitive_destroy)                              \
  F(dnnl_primitive_execute)                              \
  F(dnnl_dilated_convolution_forward_desc_init)          \
  F(dnnl_dilated_convolution_backward_data_desc_init)    \
  F(dnnl_dilated_convolution_backward_weights_desc_init) \
  F(dnnl_vanilla_rnn_forward_desc_init)                  \
  F(dnnl_vanilla_rnn_backward_desc_init)                 \
  F(dnnl_lstm_forward_desc_init)                         \
  F(dnnl_lstm_backward_desc_init)                        \
  F(dnnl_gru_forward_desc_init)                          \
  F(dnnl_gru_backward_desc_init)                         \
  F(dnnl_lbr_gru_forward_desc_init)                      \
  F(dnnl_lbr_gru_backward_desc_init)

struct Library {
#define GPUNN_ONEDNN_MEMBER(name) decltype(&::name) name = nullptr;
  GPUNN_ONEDNN_FUNCTIONS(GPUNN_ONEDNN_MEMBER)
#undef GPUNN_ONEDNN_MEMBER
  dnnl_engine_t engine = nullptr;  // the CPU's, never destroyed; null: nothing here can be used
};

inline const Library& library() {
  static const Library opened = [] {
    Library l;
    bool complete = true;
#define GPUNN_ONEDNN_FIND(name) \
  find_onednn(#name, l.name);   \
  complete = complete && l.name;
    GPUNN_ONEDNN_FUNCTIONS(GPUNN_ONEDNN_FIND)
#undef GPUNN_ONEDNN_FIND
    if (!complete || l.dnnl_engine_create(&l.engine, dnnl_cpu, 0) != dnnl_success) l.engine = nullptr;
    return l;
  }();
  return opened;
}

/// Throws Error unless `status` is success.
inline void check(dnnl_status_t status, const char* call) {
  if (status != dnnl_success)
    throw Error(detail::concat(call, " failed with status ", static_cast<int>(status)));
}

/// Thrown while a plan is made, and turned into "there is none".
struct NoPlan {};
inline void need(dnnl_status_t status) {
  if (status != dnnl_success) throw NoPlan{};
}

/// Owns what a plan needs only while it is made.
template <class T, dnnl_status_t (*Library::*kDestroy)(T)>
class Handle {
 public:
  Handle() = default;
  ~Handle() {
    if (value) (library().*kDestroy)(value);
  }
  Handle(const Handle&) = delete;
  Handle& operator=(const Handle&) = delete;

  T value = nullptr;
};
using Descriptor = Handle<dnnl_primitive_desc_t, &Library::dnnl_primitive_desc_destroy>;
using Attributes = Handle<dnnl_primitive_attr_t, &Library::dnnl_primitive_attr_destroy>;

/// An f32 tensor of these sizes; NoPlan where the library knows none.
inline void describe(dnnl_memory_desc_t& md, std::initializer_list<std::int64_t> sizes,
                     dnnl_format_tag_t tag) {
  dnnl_dims_t dims{};
  int n = 0;
  for (const std::int64_t size : sizes) dims[n++] = size;
  need(library().dnnl_memory_desc_init_by_tag(&md, n, dims, dnnl_f32, tag));
}

/// A primitive, executable by several threads at once: scratch memory comes from the caller.
struct Step {
  Step() = default;
  ~Step() {
    if (primitive) library().dnnl_primitive_destroy(primitive);
  }
  Step(const Step&) = delete;
  Step& operator=(const Step&) = delete;

  /// Makes the primitive; the bytes of scratch memory that it wants.
  std::size_t make(const_dnnl_primitive_desc_t pd) {
    const Library& l = library();
    need(l.dnnl_primitive_create(&primitive, pd));
    scratch = *l.dnnl_primitive_desc_query_md(pd, dnnl_query_scratchpad_md, 0);
    return l.dnnl_memory_desc_get_size(&scratch);
  }

  dnnl_primitive_t primitive = nullptr;
  dnnl_memory_desc_t scratch{};
};

/// One operand: as we hold it, as the primitive wants it, and the way between, if these differ.
struct Side {
  bool reordered() const noexcept { return reorder.primitive != nullptr; }
  std::size_t bytes() const { return library().dnnl_memory_desc_get_size(&wanted); }

  /// Takes what the primitive chose for the operand, and makes the reorder to (`input`) or from it; the bytes
  /// of scratch memory that it wants.
  std::size_t connect(const_dnnl_primitive_desc_t pd, dnnl_query_t query, int index, bool input,
                      const_dnnl_primitive_attr_t attributes) {
    const Library& l = library();
    wanted = *l.dnnl_primitive_desc_query_md(pd, query, index);
    if (l.dnnl_memory_desc_equal(&plain, &wanted)) return 0;
    Descriptor found;
    need(l.dnnl_reorder_primitive_desc_create(&found.value, input ? &plain : &wanted, l.engine,
                                              input ? &wanted : &plain, l.engine, attributes));
    return reorder.make(found.value);
  }

  dnnl_memory_desc_t plain{}, wanted{};
  Step reorder;
};

/// The 64 plans last used, the last one last. Thread-safe; plans of one process, never destroyed: other
/// threads may still be running ops when it ends.
template <class Key, class Plan>
class PlanCache {
 public:
  /// The plan of that key, made by `make(plan)` where it is new; null where that threw NoPlan.
  template <class Make>
  std::shared_ptr<const Plan> get(const Key& key, Make&& make) {
    const std::lock_guard lock(mutex_);
    for (auto e = entries_.rbegin(); e != entries_.rend(); ++e)
      if (e->key == key) {
        if (e != entries_.rbegin()) std::rotate(e.base() - 1, e.base(), entries_.end());
        return entries_.back().plan;
      }
    std::shared_ptr<const Plan> plan;
    try {
      const OneOnednnThread scope;  // the library blocks its loops for a number of threads
      auto made = std::make_shared<Plan>();
      make(*made);
      plan = std::move(made);
    } catch (const NoPlan&) {
    }
    entries_.push_back({key, plan});
    if (entries_.size() > kMost) entries_.pop_front();
    return plan;
  }

 private:
  static constexpr std::size_t kMost = 64;
  struct Entry {
    Key key;
    std::shared_ptr<const Plan> plan;  // null: there is none
  };

  std::mutex mutex_;
  std::deque<Entry> entries_;
};

/// Executes steps on one thread with one scratch memory.
class Runner {
 public:
  explicit Runner(void* scratch) : scratch_(scratch) {
    check(library().dnnl_stream_create(&stream_, library().engine, dnnl_stream_default_flags),
          "dnnl_stream_create");
  }
  ~Runner() { library().dnnl_stream_destroy(stream_); }
  Runner(const Runner&) = delete;
  Runner& operator=(const Runner&) = delete;

  struct Argument {
    int id;
    const dnnl_memory_desc_t* md;
    const void* data;  // null: left out
  };
  static constexpr std::size_t kMostArguments = 24;

  void run(const Step& step, std::initializer_list<Argument> arguments) {
    std::array<Memory, kMostArguments> memories;
    std::array<dnnl_exec_arg_t, kMostArguments> list;
    int n = 0;
    const auto add = [&](const Argument& a) {
      if (!a.data) return;
      auto& memory = memories[static_cast<std::size_t>(n)].handle;
      check(library().dnnl_memory_create(&memory, a.md, library().engine, const_cast<void*>(a.data)),
            "dnnl_memory_create");
      list[static_cast<std::size_t>(n++)] = {a.id, memory};
    };
    for (const Argument& a : arguments) add(a);
    add({DNNL_ARG_SCRATCHPAD, &step.scratch, scratch_});
    check(library().dnnl_primitive_execute(step.primitive, stream_, n, list.data()),
          "dnnl_primitive_execute");
  }
  void reorder(const Side& side, bool input, const void* from, void* to) {
    run(side.reorder, {{DNNL_ARG_FROM, input ? &side.plain : &side.wanted, from},
                       {DNNL_ARG_TO, input ? &side.wanted : &side.plain, to}});
  }

 private:
  struct Memory {
    ~Memory() {
      if (handle) library().dnnl_memory_destroy(handle);
    }
    dnnl_memory_t handle = nullptr;
  };

  void* scratch_;
  dnnl_stream_t stream_ = nullptr;
};

}  // namespace gpunn::onednn
