#include <algorithm>

#include "gpunn/kernels/conv2d/conv2d_onednn_impl.h"

namespace gpunn::onednn {
namespace {

struct Dims2d {
  dnnl_dims_t values{};
  Dims2d(std::int64_t h, std::int64_t w) { values[0] = h, values[1] = w; }
};

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
    scratch(plan_.convolution.make(pd));
    connect(plan_.x, pd, kind == Kind::dx ? dnnl_query_diff_src_md : dnnl_query_src_md, kind != Kind::dx);
    connect(plan_.w, pd, kind == Kind::dw ? dnnl_query_diff_weights_md : dnnl_query_weights_md,
            kind != Kind::dw);
    connect(plan_.y, pd, kind == Kind::forward ? dnnl_query_dst_md : dnnl_query_diff_dst_md,
            kind != Kind::forward);
  }

  void connect(Side& side, const_dnnl_primitive_desc_t pd, dnnl_query_t query, bool input) {
    scratch(side.connect(pd, query, 0, input, attributes_.value));
  }
  void scratch(std::size_t bytes) { plan_.scratch_bytes = std::max(plan_.scratch_bytes, bytes); }

  Plan& plan_;
  Dims2d strides_, dilates_, before_, after_;
  dnnl_memory_desc_t bias_{};
  bool has_bias_;
  Attributes attributes_;
};

struct Key {
  Kind kind;
  bool bias;
  Conv2dSizes sizes;
  bool operator==(const Key&) const = default;
};

}  // namespace

std::shared_ptr<const Plan> plan_for(Kind kind, const Conv2dSizes& sizes, bool bias) {
  static auto& cache = *new PlanCache<Key, Plan>;
  return cache.get({kind, bias, sizes}, [&](Plan& plan) { Builder(plan, sizes, bias).build(kind); });
}

}  // namespace gpunn::onednn
