#include <algorithm>
#include <deque>
#include <mutex>

#include "gpunn/core/error.h"
#include "gpunn/kernels/common/onednn_impl.h"
#include "gpunn/kernels/conv2d/conv2d_onednn_impl.h"

namespace gpunn::onednn {
namespace {

constexpr std::size_t kCachedPlans = 64;

/// Thrown while a plan is made, and turned into "there is none".
struct NoPlan {};
void need(dnnl_status_t status) {
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

struct Dims2d {
  dnnl_dims_t values{};
  Dims2d(std::int64_t h, std::int64_t w) { values[0] = h, values[1] = w; }
};

void describe(dnnl_memory_desc_t& md, std::initializer_list<std::int64_t> sizes, dnnl_format_tag_t tag) {
  dnnl_dims_t dims{};
  std::copy(sizes.begin(), sizes.end(), dims);
  need(library().dnnl_memory_desc_init_by_tag(&md, static_cast<int>(sizes.size()), dims, dnnl_f32, tag));
}

/// Pictures in channels-last order are read and written as they are; otherwise the library chooses the order.
void describe_sides(Plan& plan, const Conv2dSizes& s) {
  const auto filters = [&](dnnl_memory_desc_t& md, bool any) {
    if (s.groups == 1)
      describe(md, {s.K, s.C, s.R, s.S}, any ? dnnl_format_tag_any : dnnl_oihw);
    else
      describe(md, {s.groups, s.K / s.groups, s.C / s.groups, s.R, s.S},
               any ? dnnl_format_tag_any : dnnl_goihw);
  };
  const dnnl_format_tag_t plain = s.channels_last ? dnnl_nhwc : dnnl_nchw;
  const dnnl_format_tag_t wanted = s.channels_last ? dnnl_nhwc : dnnl_format_tag_any;
  describe(plan.x.plain, {s.N, s.C, s.H, s.W}, plain);
  describe(plan.x.wanted, {s.N, s.C, s.H, s.W}, wanted);
  describe(plan.y.plain, {s.N, s.K, s.P, s.Q}, plain);
  describe(plan.y.wanted, {s.N, s.K, s.P, s.Q}, wanted);
  filters(plan.w.plain, false);
  filters(plan.w.wanted, true);
}

class Builder {
 public:
  Builder(Plan& plan, const Conv2dSizes& s, bool bias)
      : plan_(plan),
        strides_(s.stride_h, s.stride_w),
        dilates_(s.dilation_h - 1, s.dilation_w - 1),
        before_(s.pad_h, s.pad_w),
        after_((s.P - 1) * s.stride_h + s.dilation_h * (s.R - 1) + 1 - s.pad_h - s.H,
               (s.Q - 1) * s.stride_w + s.dilation_w * (s.S - 1) + 1 - s.pad_w - s.W),
        has_bias_(bias) {
    need(library().dnnl_primitive_attr_create(&attributes_.value));
    need(library().dnnl_primitive_attr_set_scratchpad_mode(attributes_.value, dnnl_scratchpad_mode_user));
    describe_sides(plan, s);
    describe(bias_, {s.K}, dnnl_x);
  }

  void build(Kind kind) {
    const Library& l = library();
    Descriptor forward, gradient;
    dnnl_convolution_desc_t d;
    need(l.dnnl_dilated_convolution_forward_desc_init(
        &d, dnnl_forward_training, dnnl_convolution_direct, &plan_.x.wanted, &plan_.w.wanted,
        has_bias_ ? &bias_ : nullptr, &plan_.y.wanted, strides_.values, dilates_.values, before_.values,
        after_.values));
    need(l.dnnl_primitive_desc_create(&forward.value, &d, attributes_.value, l.engine, nullptr));
    if (kind == Kind::forward) return finish(forward.value, kind);
    if (kind == Kind::dx)
      need(l.dnnl_dilated_convolution_backward_data_desc_init(
          &d, dnnl_convolution_direct, &plan_.x.wanted, &plan_.w.wanted, &plan_.y.wanted, strides_.values,
          dilates_.values, before_.values, after_.values));
    else
      need(l.dnnl_dilated_convolution_backward_weights_desc_init(
          &d, dnnl_convolution_direct, &plan_.x.wanted, &plan_.w.wanted, nullptr, &plan_.y.wanted,
          strides_.values, dilates_.values, before_.values, after_.values));
    need(l.dnnl_primitive_desc_create(&gradient.value, &d, attributes_.value, l.engine, forward.value));
    finish(gradient.value, kind);
  }

 private:
  void finish(const_dnnl_primitive_desc_t pd, Kind kind) {
    make(plan_.convolution, pd);
    connect(plan_.x, pd, kind == Kind::dx ? dnnl_query_diff_src_md : dnnl_query_src_md, kind != Kind::dx);
    connect(plan_.w, pd, kind == Kind::dw ? dnnl_query_diff_weights_md : dnnl_query_weights_md,
            kind != Kind::dw);
    connect(plan_.y, pd, kind == Kind::forward ? dnnl_query_dst_md : dnnl_query_diff_dst_md,
            kind != Kind::forward);
  }

  void make(Step& step, const_dnnl_primitive_desc_t pd) {
    const Library& l = library();
    need(l.dnnl_primitive_create(&step.primitive, pd));
    step.scratch = *l.dnnl_primitive_desc_query_md(pd, dnnl_query_scratchpad_md, 0);
    plan_.scratch_bytes = std::max(plan_.scratch_bytes, l.dnnl_memory_desc_get_size(&step.scratch));
  }

  /// What the convolution chose for the operand, and the reorder to (`input`) or from it.
  void connect(Side& side, const_dnnl_primitive_desc_t pd, dnnl_query_t query, bool input) {
    const Library& l = library();
    side.wanted = *l.dnnl_primitive_desc_query_md(pd, query, 0);
    if (l.dnnl_memory_desc_equal(&side.plain, &side.wanted)) return;
    Descriptor reorder;
    need(l.dnnl_reorder_primitive_desc_create(&reorder.value, input ? &side.plain : &side.wanted, l.engine,
                                              input ? &side.wanted : &side.plain, l.engine,
                                              attributes_.value));
    make(side.reorder, reorder.value);
  }

  Plan& plan_;
  Dims2d strides_, dilates_, before_, after_;
  dnnl_memory_desc_t bias_{};
  bool has_bias_;
  Attributes attributes_;
};

struct Entry {
  Kind kind;
  bool bias;
  Conv2dSizes sizes;
  std::shared_ptr<const Plan> plan;  // null: there is none
};

/// Last used last.
struct Cache {
  std::mutex mutex;
  std::deque<Entry> entries;
};

}  // namespace

const Library& library() {
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

void check(dnnl_status_t status, const char* call) {
  if (status != dnnl_success)
    throw Error(detail::concat(call, " failed with status ", static_cast<int>(status)));
}

Step::~Step() {
  if (primitive) library().dnnl_primitive_destroy(primitive);
}

std::size_t Side::bytes() const { return library().dnnl_memory_desc_get_size(&wanted); }

std::shared_ptr<const Plan> plan_for(Kind kind, const Conv2dSizes& sizes, bool bias) {
  // Never destroyed: other threads may still be running ops when the process ends.
  static Cache& cache = *new Cache;
  const std::lock_guard lock(cache.mutex);
  auto& entries = cache.entries;
  for (auto e = entries.rbegin(); e != entries.rend(); ++e)
    if (e->kind == kind && e->bias == bias && e->sizes == sizes) {
      if (e != entries.rbegin()) std::rotate(e.base() - 1, e.base(), entries.end());
      return entries.back().plan;
    }
  std::shared_ptr<const Plan> plan;
  try {
    const OneOnednnThread scope;  // the library blocks its loops for a number of threads
    auto made = std::make_shared<Plan>();
    Builder(*made, sizes, bias).build(kind);
    plan = std::move(made);
  } catch (const NoPlan&) {
  }
  entries.push_back({kind, bias, sizes, plan});
  if (entries.size() > kCachedPlans) entries.pop_front();
  return plan;
}

}  // namespace gpunn::onednn
