// CUDA's execution model on the CPU, as far as the kernels under rtseg/ops/cuda use it.
//
// Every CUDA thread is a fiber with its own stack. The fibers of a block share one operating system thread and are run
// one at a time in an order drawn from a seed; they hand over at barriers and warp collectives and, at random, at every
// atomic. Blocks are dealt to one or several operating system threads in shuffled order, so blocks run truly in parallel.
// A barrier or collective that not all of its threads reach is an error here, though some devices would let it pass.
#pragma once

#include <atomic>
#include <bit>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <tuple>
#include <type_traits>
#include <utility>

#define RTSEG_SHIM 1
#define __global__
#define __device__ static
#define __forceinline__ inline
#define __constant__ static const
#define __shared__ static thread_local
#define __launch_bounds__(...)

struct dim3 {
    unsigned x = 1, y = 1, z = 1;
};

namespace shim {

struct Fiber {  // the part of a CUDA thread that the kernels see
    dim3 thread;
    dim3 block;
};
extern thread_local Fiber* current;
extern thread_local dim3 block_size;
extern thread_local dim3 grid_size;

enum Collective { SHUFFLE, SHUFFLE_UP, SHUFFLE_DOWN, SHUFFLE_XOR, BALLOT, SYNC_WARP };

void barrier();
int barrier_count(int predicate);
uint64_t collective(Collective kind, unsigned mask, uint64_t value, int argument);
void may_yield();

template <class T>
uint64_t to_bits(T value) {
    static_assert(sizeof(T) <= 8);
    uint64_t bits = 0;
    std::memcpy(&bits, &value, sizeof(T));
    return bits;
}
template <class T>
T from_bits(uint64_t bits) {
    T value;
    std::memcpy(&value, &bits, sizeof(T));
    return value;
}

using Invoke = void (*)(void** arguments);
struct Registration {
    Registration(const char* name, Invoke invoke, int count, const int* sizes);
};

template <class>
struct Sizes;
template <class... P>
struct Sizes<void (*)(P...)> {
    static constexpr int count = sizeof...(P);
    // A parameter's size; pointers have that of what they point to, negated; floats, or pointers to them, count 100 more.
    template <class T>
    static constexpr int code() {
        using Value = std::remove_pointer_t<T>;
        const int size = int(sizeof(Value)) + (std::is_floating_point_v<Value> ? 100 : 0);
        return std::is_pointer_v<T> ? -size : size;
    }
    static constexpr int values[sizeof...(P) + 1] = {code<P>()..., 0};
};
template <class... P, std::size_t... I>
void call(void (*kernel)(P...), void** arguments, std::index_sequence<I...>) {
    kernel(*static_cast<std::remove_const_t<P>*>(arguments[I])...);
}
template <class... P>
void call(void (*kernel)(P...), void** arguments) {
    call(kernel, arguments, std::index_sequence_for<P...>{});
}

}  // namespace shim

#define SHIM_REGISTER(kernel)                                                                             \
    static shim::Registration registration_##kernel(                                                      \
        #kernel, [](void** arguments) { shim::call(&kernel, arguments); }, shim::Sizes<decltype(&kernel)>::count, \
        shim::Sizes<decltype(&kernel)>::values);

#define threadIdx (shim::current->thread)
#define blockIdx (shim::current->block)
#define blockDim (shim::block_size)
#define gridDim (shim::grid_size)

static inline void __syncthreads() { shim::barrier(); }
static inline int __syncthreads_count(int predicate) { return shim::barrier_count(predicate); }
static inline int __syncthreads_or(int predicate) { return shim::barrier_count(predicate) != 0; }
static inline void __syncwarp(unsigned mask = 0xffffffffu) { shim::collective(shim::SYNC_WARP, mask, 0, 0); }
static inline unsigned __ballot_sync(unsigned mask, int predicate) {
    return unsigned(shim::collective(shim::BALLOT, mask, predicate != 0, 0));
}
static inline int __any_sync(unsigned mask, int predicate) { return __ballot_sync(mask, predicate) != 0; }
template <class T>
T __shfl_sync(unsigned mask, T value, int lane) {
    return shim::from_bits<T>(shim::collective(shim::SHUFFLE, mask, shim::to_bits(value), lane));
}
template <class T>
T __shfl_up_sync(unsigned mask, T value, unsigned delta) {
    return shim::from_bits<T>(shim::collective(shim::SHUFFLE_UP, mask, shim::to_bits(value), int(delta)));
}
template <class T>
T __shfl_down_sync(unsigned mask, T value, unsigned delta) {
    return shim::from_bits<T>(shim::collective(shim::SHUFFLE_DOWN, mask, shim::to_bits(value), int(delta)));
}
template <class T>
T __shfl_xor_sync(unsigned mask, T value, int lanes) {
    return shim::from_bits<T>(shim::collective(shim::SHUFFLE_XOR, mask, shim::to_bits(value), lanes));
}
static inline int __popc(unsigned x) { return std::popcount(x); }
static inline int __clz(int x) { return std::countl_zero(unsigned(x)); }
static inline int __ffs(int x) { return x == 0 ? 0 : std::countr_zero(unsigned(x)) + 1; }
static inline int __float_as_int(float x) { return std::bit_cast<int>(x); }
static inline long long __double_as_longlong(double x) { return std::bit_cast<long long>(x); }
static inline float __int_as_float(int x) { return std::bit_cast<float>(x); }

template <class T>
T load_relaxed(const T* p) {
    shim::may_yield();
    return std::atomic_ref<T>(*const_cast<T*>(p)).load(std::memory_order_relaxed);
}
template <class T>
void store_relaxed(T* p, std::type_identity_t<T> value) {
    shim::may_yield();
    std::atomic_ref<T>(*p).store(value, std::memory_order_relaxed);
}
template <class T>
T atomicAdd(T* p, std::type_identity_t<T> value) {
    shim::may_yield();
    return std::atomic_ref<T>(*p).fetch_add(value, std::memory_order_relaxed);
}
template <class T>
T atomicOr(T* p, std::type_identity_t<T> value) {
    shim::may_yield();
    return std::atomic_ref<T>(*p).fetch_or(value, std::memory_order_relaxed);
}
template <class T>
T atomicMin(T* p, std::type_identity_t<T> value) {
    shim::may_yield();
    std::atomic_ref<T> ref(*p);
    T old = ref.load(std::memory_order_relaxed);
    while (value < old && !ref.compare_exchange_weak(old, value, std::memory_order_relaxed)) {
    }
    return old;
}
template <class T>
T atomicMax(T* p, std::type_identity_t<T> value) {
    shim::may_yield();
    std::atomic_ref<T> ref(*p);
    T old = ref.load(std::memory_order_relaxed);
    while (old < value && !ref.compare_exchange_weak(old, value, std::memory_order_relaxed)) {
    }
    return old;
}
template <class T>
T atomicExch(T* p, std::type_identity_t<T> value) {
    shim::may_yield();
    return std::atomic_ref<T>(*p).exchange(value, std::memory_order_relaxed);
}
template <class T>
T atomicCAS(T* p, std::type_identity_t<T> expected, std::type_identity_t<T> value) {
    shim::may_yield();
    std::atomic_ref<T>(*p).compare_exchange_strong(expected, value, std::memory_order_relaxed);
    return expected;
}
