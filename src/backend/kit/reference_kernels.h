/* Tokengrid's reference kernels behind a C interface: one plain f32 loop per op of profile TEXT,
 * and a reader that turns a program's bytes into a flat list of ops. libtg_reference_kernels.so.
 *
 * A port starts with all of them and replaces one after the other; nothing here is fast. Opcodes,
 * dtypes and attribute keys are the numbers of the program's encoding (spec/isa.md).
 *
 * Tensors are row-major f32 without gaps: f16 and bf16 values are kept as the f32 they are, and
 * rounded by tgk_round; i32 tensors hold int32_t in the same four bytes. Weights are decoded. */
#ifndef TG_KIT_REFERENCE_KERNELS_H
#define TG_KIT_REFERENCE_KERNELS_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#if defined(__GNUC__)
#define TGK_EXPORT __attribute__((visibility("default")))
#else
#define TGK_EXPORT
#endif

enum { TGK_OPERANDS_MAX = 16, TGK_RANK_MAX = 4 };

/* ---- a program, flat: loops unrolled, layers resolved -----------------------------------------*/

/* constant + t*T + s*S + r*R */
typedef struct tgk_dim {
  int64_t constant;
  int32_t t, s, r, reserved;
} tgk_dim;

typedef struct tgk_type {
  uint8_t is_tensor; /* 0: the batch */
  uint8_t dtype, rank, reserved;
  tgk_dim dims[TGK_RANK_MAX];
} tgk_type;

enum { TGK_VALUE = 0, TGK_WEIGHT = 1, TGK_CONSTANT = 2, TGK_CACHE = 3 };

typedef struct tgk_operand {
  uint32_t kind;
  uint32_t index; /* of the value, weight, constant or cache */
  uint32_t layer;
} tgk_operand;

typedef struct tgk_op {
  uint32_t code;
  uint32_t n_in, n_out;
  const tgk_operand* in;
  const uint32_t* out; /* values */
  const char* name;
  const void* attributes; /* for tgk_word, tgk_real and tgk_words */
} tgk_op;

typedef struct tgk_weight {
  uint32_t dtype, rank;
  int64_t dims[TGK_RANK_MAX];
} tgk_weight;

typedef struct tgk_constant {
  const float* data;
  uint32_t rank, reserved;
  int64_t dims[TGK_RANK_MAX];
} tgk_constant;

/* dv 0: keys only, the first `latent` channels of a key serve as its value. */
typedef struct tgk_cache_type {
  uint32_t heads, dk, dv, page_tokens, format, latent;
} tgk_cache_type;

typedef struct tgk_program {
  uint32_t n_values, n_ops, n_parameters, n_results, n_weights, n_constants, n_caches, reserved;
  const tgk_type* values;
  const tgk_op* ops;
  const uint32_t* parameters; /* values: ids, positions, rows, batch */
  const uint32_t* results;    /* values */
  const tgk_weight* weights;
  const tgk_constant* constants;
  const tgk_cache_type* caches;
} tgk_program;

/* NULL if the bytes are no valid program or have no such function; then `error` holds one line. */
TGK_EXPORT const tgk_program* tgk_program_read(const uint8_t* bytes, uint64_t n,
                                               const char* function, char* error,
                                               uint64_t error_bytes);
TGK_EXPORT void tgk_program_free(const tgk_program* program);

/* The attribute's value, or the op's default. The op must have that attribute. */
TGK_EXPORT uint32_t tgk_word(const tgk_op* op, uint32_t key);
TGK_EXPORT float tgk_real(const tgk_op* op, uint32_t key);
/* All words of an attribute that may be a list or a program (ew's code); NULL if left out. */
TGK_EXPORT const uint32_t* tgk_words(const tgk_op* op, uint32_t key, uint32_t* count);

/* ---- kernels ----------------------------------------------------------------------------------*/

typedef struct tgk_tensor {
  float* data;
  uint32_t rank, dtype;
  int64_t dims[TGK_RANK_MAX];
} tgk_tensor;

/* The arrays of a step (abi.h, tg_param_layout). */
typedef struct tgk_batch {
  int64_t tokens, sequences, rows;
  const int32_t *cu, *past, *page_begin, *pages, *slots;
} tgk_batch;

/* One layer's pages: of each token the keys of all heads, then the values; decoded f32. */
typedef struct tgk_cache {
  float* base;
  int64_t page_floats;
  tgk_cache_type type;
} tgk_cache;

typedef struct tgk_call {
  const tgk_op* op;
  uint32_t n_in, reserved;
  tgk_tensor
      in[TGK_OPERANDS_MAX]; /* values, weights and constants; empty for the batch and caches */
  tgk_tensor out;
  tgk_cache cache; /* of ops on a cache */
  tgk_batch batch;
  double* scratch; /* tgk_scratch() of them */
} tgk_call;

/* Does not allocate. */
typedef void (*tgk_kernel)(const tgk_call* call);

/* NULL if there is none for that op. */
TGK_EXPORT tgk_kernel tgk_reference_kernel(uint32_t opcode);
/* How many doubles of scratch the op's kernel wants. */
TGK_EXPORT int64_t tgk_scratch(const tgk_program* program, const tgk_op* op, int64_t max_context);

/* Rounds to what f16 or bf16 can hold, to nearest even; nothing for other types. */
TGK_EXPORT void tgk_round(uint32_t dtype, float* data, int64_t n);
/* Decodes rows of `columns` numbers of a codec to f32; 0, or -1 if the codec or the size is wrong.
 */
TGK_EXPORT int tgk_decode(uint32_t codec, const void* bytes, uint64_t n_bytes, int64_t rows,
                          int64_t columns, float* out);
/* The codec's name, for messages. */
TGK_EXPORT const char* tgk_dtype_name(uint32_t dtype);

#ifdef __cplusplus
}
#endif

#endif
