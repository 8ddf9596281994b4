// The dialect the shared kernels are written in: what OpenCL C 1.2 and CUDA C++ have in common, by
// macros. A work-group is 64 wide in one dimension. Every kernel's first argument is the step's
// sizes in device memory ({T, S, R}), so that a launch recorded once can be replayed with others.
#define WG 64

#ifdef __OPENCL_VERSION__
#pragma OPENCL FP_CONTRACT OFF
#define KERNEL(name) __kernel __attribute__((reqd_work_group_size(WG, 1, 1))) void name
// Inlined always: a function left out of line may have a kernel's local array propagated into it as
// a constant, and PoCL then shares that array between the work-groups its threads run at once.
#define DEVICE static inline __attribute__((always_inline))
#define GLOBAL __global
#define LOCAL __local   // of a pointer
#define SHARED __local  // of an array
#define TABLE __constant
#define GROUP0 ((int)get_group_id(0))
#define GROUP1 ((int)get_group_id(1))
#define GROUP2 ((int)get_group_id(2))
#define LID ((int)get_local_id(0))
#define BARRIER() barrier(CLK_LOCAL_MEM_FENCE)
#define BARRIER_GLOBAL() barrier(CLK_LOCAL_MEM_FENCE | CLK_GLOBAL_MEM_FENCE)
#define MULHI(a, b) mul_hi((uint)(a), (uint)(b))
#define BITS(x) as_uint(x)
#define FLOAT(x) as_float(x)

// What a device may have beyond OpenCL 1.2 is an option of the build each (opencl/extensions.h):
// HAS_HALF, HAS_SUBGROUPS, HAS_INT_DOT. With EMULATED plain OpenCL C stands for the extension, so that
// what is behind an option also runs where no driver offers it.
#ifdef HAS_HALF
#ifdef EMULATED
typedef _Float16 Half;
#else
#pragma OPENCL EXTENSION cl_khr_fp16 : enable
typedef half Half;
#endif
DEVICE float half_at(GLOBAL const uchar* p) {
  return (float)*(GLOBAL const Half*)p;
}
DEVICE ushort to_half(float x) {
  union {
    Half number;
    ushort bits;
  } out;
  out.number = (Half)x;
  return out.bits;
}
DEVICE float from_half(ushort bits) {
  union {
    Half number;
    ushort bits;
  } in;
  in.bits = bits;
  return (float)in.number;
}
#else
DEVICE float half_at(GLOBAL const uchar* p) {
  return vload_half(0, (GLOBAL const half*)p);
}
DEVICE ushort to_half(float x) {
  ushort bits;
  vstore_half_rte(x, 0, (half*)&bits);
  return bits;
}
DEVICE float from_half(ushort bits) {
  return vload_half(0, (const half*)&bits);
}
#endif

// Sums and maxima over a sub-group; `s` is local room for WG numbers, which only emulation needs.
#ifdef HAS_SUBGROUPS
#ifdef EMULATED
#define SUB_LANES 16
#define SUB_LANE (LID % SUB_LANES)
#define SUB_GROUP (LID / SUB_LANES)
#define SUB_GROUPS (WG / SUB_LANES)
DEVICE float sub_group_sum(LOCAL float* s, float v) {
  BARRIER();
  s[LID] = v;
  BARRIER();
  float total = 0.0f;
  for (int i = 0; i < SUB_LANES; ++i) total += s[SUB_GROUP * SUB_LANES + i];
  return total;
}
DEVICE float sub_group_top(LOCAL float* s, float v) {
  BARRIER();
  s[LID] = v;
  BARRIER();
  float top = s[SUB_GROUP * SUB_LANES];
  for (int i = 1; i < SUB_LANES; ++i) top = fmax(top, s[SUB_GROUP * SUB_LANES + i]);
  return top;
}
#else
#pragma OPENCL EXTENSION cl_khr_subgroups : enable
#define SUB_LANES ((int)get_sub_group_size())
#define SUB_LANE ((int)get_sub_group_local_id())
#define SUB_GROUP ((int)get_sub_group_id())
#define SUB_GROUPS ((int)get_num_sub_groups())
#define sub_group_sum(s, v) sub_group_reduce_add(v)
#define sub_group_top(s, v) sub_group_reduce_max(v)
#endif
#endif

#if defined(HAS_INT_DOT) && !defined(EMULATED)
#pragma OPENCL EXTENSION cl_khr_integer_dot_product : enable
#define DOT4(a, b) dot_4x8packed_ss_int(a, b)
#endif
#else
#ifndef TG_EMULATED  // cuda/kernels/emulation.h has these for the host
#include <cuda_fp16.h>
typedef unsigned char uchar;
typedef unsigned short ushort;
typedef unsigned int uint;
typedef unsigned long ulong;
#define KERNEL_OF(threads) extern "C" __global__ void __launch_bounds__(threads)
#define KERNEL(name) KERNEL_OF(WG) name
#define DEVICE static __device__ __forceinline__
#define TABLE static __constant__ const
#define SHARED __shared__
#define BITS(x) __float_as_uint(x)
#define FLOAT(x) __uint_as_float(x)
#define MULHI(a, b) __umulhi((a), (b))
#define DOT4(a, b) __dp4a((int)(a), (int)(b), 0)
#define atomic_inc(p) atomicAdd((p), 1)

DEVICE float half_at(const uchar* p) {
  return __half2float(*(const __half*)p);
}
DEVICE ushort to_half(float x) {
  return __half_as_ushort(__float2half_rn(x));
}
DEVICE float from_half(ushort bits) {
  return __half2float(__ushort_as_half(bits));
}
#endif
#define GLOBAL
#define LOCAL
#define GROUP0 ((int)blockIdx.x)
#define GROUP1 ((int)blockIdx.y)
#define GROUP2 ((int)blockIdx.z)
#define LID ((int)threadIdx.x)
#define BARRIER() __syncthreads()
#define BARRIER_GLOBAL() __syncthreads()

DEVICE int clamp(int x, int low, int high) {
  return x < low ? low : x > high ? high : x;
}
#endif

// A pointer into an arena: its base and a byte offset.
#define IN(name) GLOBAL const uchar *name##_base, ulong name##_at
#define OUT(name) GLOBAL uchar *name##_base, ulong name##_at
#define READS(type, name) GLOBAL const type* name = (GLOBAL const type*)(name##_base + name##_at)
#define WRITES(type, name) GLOBAL type* name = (GLOBAL type*)(name##_base + name##_at)

// A size c + t*T + s*S + r*R.
#define FORM(name) int name##_c, int name##_t, int name##_s, int name##_r
#define SIZE(name) (name##_c + name##_t * step[0] + name##_s * step[1] + name##_r * step[2])

// The elements of a work-group of an elementwise kernel: four for each item, neighbours together.
#define EACH(i, total)                                                                    \
  for (ulong i = (ulong)GROUP0 * (WG * 4) + LID,                                          \
             i##_end = min((ulong)(total), (ulong)GROUP0 * (WG * 4) + WG * 4);            \
       i < i##_end; i += WG)

// The columns of a row among a work-group's items. The loop goes on as long for every item: PoCL 3.1 loses
// what an item carries past a barrier if its own loop ran no turn.
#define EACH_OF(c, n) \
  for (int c##_of = 0, c = LID; c##_of < (int)(n); c##_of += WG, c += WG) if (c < (int)(n))

// The sum of the products of four signed bytes each.
#ifndef DOT4
DEVICE int dot4(uint a, uint b) {
  int total = 0;
  for (int i = 0; i < 32; i += 8) total += (int)(signed char)(a >> i) * (int)(signed char)(b >> i);
  return total;
}
#define DOT4(a, b) dot4(a, b)
#endif

// ---- numbers: how a result is rounded to its type; values are kept as the f32 they round to

#define ROUND_F16 1
#define ROUND_BF16 2

DEVICE ushort to_bfloat(float x) {
  uint bits = BITS(x);
  if ((bits & 0x7FFFFFFFu) > 0x7F800000u) return (ushort)(bits >> 16 | 0x40u);
  return (ushort)((bits + 0x7FFFu + (bits >> 16 & 1u)) >> 16);
}

DEVICE float rounded(float x, int mode) {
  if (mode == ROUND_F16) return from_half(to_half(x));
  if (mode == ROUND_BF16) return FLOAT((uint)to_bfloat(x) << 16);
  return x;
}

DEVICE float from_e4m3(uint v) {
  uint m = v & 0x7Fu;
  if (m == 0x7Fu) return FLOAT(0x7FC00000u);
  float magnitude = m < 8u ? (float)m * 0.001953125f : FLOAT((m << 20) + (120u << 23));
  return (v & 0x80u) ? -magnitude : magnitude;
}

DEVICE uchar to_e4m3(float x) {
  uint bits = BITS(x);
  uint sign = bits >> 24 & 0x80u;
  uint m = bits & 0x7FFFFFFFu;
  if (m > 0x7F800000u) return (uchar)(sign | 0x7Fu);
  if (m >= 0x43E00000u) return (uchar)(sign | 0x7Eu);
  // Below 2^-6 the steps are 2^-9: adding 2^14 rounds to them.
  if (m < 0x3C800000u) return (uchar)(sign | (BITS(FLOAT(m) + 16384.0f) - 0x46800000u));
  return (uchar)(sign | (((m + 0x7FFFFu + (m >> 20 & 1u)) >> 20) - (120u << 3)));
}

// ---- sums over a work-group, in a fixed order

#ifdef HAS_SUBGROUPS
DEVICE float group_sum(LOCAL float* s, float v) {
  float mine = sub_group_sum(s, v);
  BARRIER();
  if (SUB_LANE == 0) s[SUB_GROUP] = mine;
  BARRIER();
  float total = s[0];
  for (int i = 1; i < SUB_GROUPS; ++i) total += s[i];
  return total;
}

DEVICE float group_max(LOCAL float* s, float v) {
  float mine = sub_group_top(s, v);
  BARRIER();
  if (SUB_LANE == 0) s[SUB_GROUP] = mine;
  BARRIER();
  float top = s[0];
  for (int i = 1; i < SUB_GROUPS; ++i) top = fmax(top, s[i]);
  return top;
}
#else
DEVICE float group_sum(LOCAL float* s, float v) {
  BARRIER();
  s[LID] = v;
  BARRIER();
  for (int step = WG / 2; step > 0; step /= 2) {
    if (LID < step) s[LID] += s[LID + step];
    BARRIER();
  }
  return s[0];
}

DEVICE float group_max(LOCAL float* s, float v) {
  BARRIER();
  s[LID] = v;
  BARRIER();
  for (int step = WG / 2; step > 0; step /= 2) {
    if (LID < step) s[LID] = s[LID] > s[LID + step] ? s[LID] : s[LID + step];
    BARRIER();
  }
  return s[0];
}
#endif
