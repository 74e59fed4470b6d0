// Runs of a group's functions on the CPU in f32, compiled per Highway target. Include it where
// simd_math-inl.h may be included.
//
// A functor has a vector form (a specialisation of VectorForm), or its scalar form is applied in a loop that
// the compiler may vectorise for the target. Tails go through the same vector code in a padded buffer, so
// that an element's value does not depend on where it stands.
#if defined(GPUNN_KERNELS_ELEMENTWISE_MAP_CPU_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef GPUNN_KERNELS_ELEMENTWISE_MAP_CPU_INL_H_
#undef GPUNN_KERNELS_ELEMENTWISE_MAP_CPU_INL_H_
#else
#define GPUNN_KERNELS_ELEMENTWISE_MAP_CPU_INL_H_
#endif

#include <cstring>
#include <type_traits>
#include <utility>

#include "gpunn/kernels/elementwise/map_cpu_impl.h"
#include "gpunn/kernels/elementwise/simd_functions-inl.h"
#include "hwy/highway.h"

HWY_BEFORE_NAMESPACE();
namespace gpunn {
namespace HWY_NAMESPACE {
namespace {

using Tag = hn::ScalableTag<float>;
using Vector = hn::Vec<Tag>;

template <class Functor>
struct VectorForm : std::false_type {};

/// The vector form of a functor of inputs (…; s, t).
#define GPUNN_VECTOR_1(Name, ...)                                                               \
  template <>                                                                                   \
  struct VectorForm<elementwise::Name> : std::true_type {                                       \
    static HWY_INLINE Vector apply([[maybe_unused]] Tag d, Vector x, [[maybe_unused]] Vector s, \
                                   [[maybe_unused]] Vector t) {                                 \
      __VA_ARGS__                                                                               \
    }                                                                                           \
  }
#define GPUNN_VECTOR_2(Name, a, b, ...)                                                                   \
  template <>                                                                                             \
  struct VectorForm<elementwise::Name> : std::true_type {                                                 \
    static HWY_INLINE Vector apply([[maybe_unused]] Tag d, Vector a, Vector b, [[maybe_unused]] Vector s, \
                                   [[maybe_unused]] Vector t) {                                           \
      __VA_ARGS__                                                                                         \
    }                                                                                                     \
  }

#define GPUNN_VECTOR_3(Name, a, b, c, ...)                                                 \
  template <>                                                                              \
  struct VectorForm<elementwise::Name> : std::true_type {                                  \
    static HWY_INLINE Vector apply([[maybe_unused]] Tag d, Vector a, Vector b, Vector c,   \
                                   [[maybe_unused]] Vector s, [[maybe_unused]] Vector t) { \
      __VA_ARGS__                                                                          \
    }                                                                                      \
  }

template <class Functor, std::size_t... I>
void RunVectors(const float* const (&in)[sizeof...(I)], float* y, std::size_t n, float s, float t,
                std::index_sequence<I...>) {
  const Tag d;
  const std::size_t lanes = hn::Lanes(d);
  const Vector vs = hn::Set(d, s), vt = hn::Set(d, t);
  std::size_t i = 0;
  for (; i + lanes <= n; i += lanes)
    hn::StoreU(VectorForm<Functor>::apply(d, hn::LoadU(d, in[I] + i)..., vs, vt), d, y + i);
  if (i == n) return;
  HWY_ALIGN float tail[sizeof...(I)][HWY_MAX_BYTES / sizeof(float)] = {};
  const std::size_t bytes = (n - i) * sizeof(float);
  (std::memcpy(tail[I], in[I] + i, bytes), ...);
  hn::Store(VectorForm<Functor>::apply(d, hn::Load(d, tail[I])..., vs, vt), d, tail[0]);
  std::memcpy(y + i, tail[0], bytes);
}

template <class Functor, class Function, std::size_t... I>
void RunScalars(const void* const* in, void* y, std::size_t n, float s, float t, std::index_sequence<I...>) {
  using Out = std::conditional_t<MapGroup<Function>::kResult == MapResult::boolean, bool, float>;
  Out* out = static_cast<Out*>(y);
  for (std::size_t i = 0; i < n; ++i)
    out[i] = Functor::template apply<float>(static_cast<const float*>(in[I])[i]..., s, t);
}

/// where: a bool condition beside two floats.
inline void RunSelection(const void* const* in, float* y, std::size_t n) {
  const Tag d;
  const hn::RebindToUnsigned<Tag> wide;
  const hn::Rebind<std::uint8_t, Tag> narrow;
  const auto* condition = static_cast<const std::uint8_t*>(in[0]);
  const auto *a = static_cast<const float*>(in[1]), *b = static_cast<const float*>(in[2]);
  const std::size_t lanes = hn::Lanes(d);
  std::size_t i = 0;
  for (; i + lanes <= n; i += lanes) {
    const auto chosen = hn::Ne(hn::PromoteTo(wide, hn::LoadU(narrow, condition + i)), hn::Zero(wide));
    const Vector va = hn::LoadU(d, a + i), vb = hn::LoadU(d, b + i);
    hn::StoreU(hn::IfThenElse(hn::RebindMask(d, chosen), va, vb), d, y + i);
  }
  for (; i < n; ++i) y[i] = condition[i] != 0 ? a[i] : b[i];
}

template <class Functor, class Function>
void RunFunctor(const void* const* in, void* y, std::size_t n, float s, float t) {
  constexpr int K = kInputs<Function>;
  constexpr auto indices = std::make_index_sequence<static_cast<std::size_t>(K)>();
  if constexpr (MapGroup<Function>::kSelects) {
    RunSelection(in, static_cast<float*>(y), n);
  } else if constexpr (VectorForm<Functor>::value) {
    const float* floats[K];
    for (int k = 0; k < K; ++k) floats[k] = static_cast<const float*>(in[k]);
    RunVectors<Functor>(floats, static_cast<float*>(y), n, s, t, indices);
  } else {
    RunScalars<Functor, Function>(in, y, n, s, t, indices);
  }
}

template <class Function>
MapRun ChooseRun(Function function) {
  MapRun run = nullptr;
  elementwise::visit<float>(function, [&](auto functor) { run = RunFunctor<decltype(functor), Function>; });
  return run;
}

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace gpunn
HWY_AFTER_NAMESPACE();

#endif  // per-target include guard
