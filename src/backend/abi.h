/* The backend C ABI (isa.md section 10): everything Tokengrid asks of an accelerator. A vendor
 * writes one shared object that exports tg_backend_get(); nothing else of Tokengrid is needed.
 *
 * R1  C11 only: no exceptions, no C++ types.
 * R2  Every struct that crosses the boundary begins with `uint32_t size` (bytes the writer knew of)
 *     and only ever grows at its end. A reader uses no field beyond the writer's size; in an array
 *     the elements are that size apart. tg_wplace and tg_kvplace have no size and never change.
 * R3  A backend never calls the host during run(); tg_host serves plan() and nothing later.
 * R4  run() does not allocate, does not synchronise and does not read device memory on the host.
 *     (A backend whose device is the host's own cores computes inside run(); that is its stream.)
 * R5  Sizes that depend on data come only from tg_step and from the bounds in it.
 * R6  No silent fallback: the host places ops by capability rows and refuses what no row covers.
 * R7  Metering is the host's, from the program's ops; a backend influences it only through outputs
 *     and the counts of distinct experts.
 *
 * Threads: calls on one device come from one thread at a time. Strings are UTF-8, NUL-terminated.
 * Arrays a call returns stay valid until the object they were asked of is freed. */
#ifndef TG_BACKEND_ABI_H
#define TG_BACKEND_ABI_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define TG_ABI_MAJOR 1u /* a different major is a different ABI: tg_backend_get returns NULL */
/* 1: profiles MOE, EMBED and SPEC; sampling; second entries. 2: error_text without a device */
#define TG_ABI_MINOR 2u

typedef int32_t tg_status;
enum {
  TG_OK = 0,
  TG_E_INVALID = -1,     /* the host broke a rule of this file */
  TG_E_UNSUPPORTED = -2, /* understood, but not something this device does */
  TG_E_MEMORY = -3,      /* not enough device memory */
  TG_E_DEVICE = -4       /* the device or its driver failed; the device must be closed */
};

typedef struct tg_dev_s* tg_dev;
typedef struct tg_stream_s* tg_stream;
typedef struct tg_event_s* tg_event;
typedef struct tg_buf_s* tg_buf;
typedef struct tg_plan_s* tg_plan;
typedef struct tg_exec_s* tg_exec;

/* ---- devices ---------------------------------------------------------------------------------*/

typedef struct tg_props {
  uint32_t size;
  uint32_t cores;       /* units that a step can be spread over */
  char name[64];        /* "cpu avx512" */
  uint64_t memory;      /* bytes of device memory; 0: unknown */
  uint32_t alignment;   /* every offset the host chooses is a multiple of it; a power of two */
  uint32_t max_threads; /* 0: the device has no notion of threads */
} tg_props;

#define TG_ANY 0xFFu /* in a dtype field of a row: any, or the op has no such operand */

/* One line of what the device can run; also the shape of its conformance record. Opcodes and dtypes
 * are the encoding's numbers. An op is covered if one row matches it in every field. */
typedef struct tg_row {
  uint32_t size;
  uint16_t op;
  uint16_t op_version;
  uint8_t x, w, acc, y, kv; /* dtypes: first operand, weight, accumulator, result, cache format */
  uint8_t mask_bits;        /* attn: bit per mask kind */
  uint16_t flags;           /* TG_ROW_* */
  uint32_t max_tokens, max_context, max_heads, max_dim; /* 0: no limit */
  uint8_t err_class;                                    /* E0..E5 of isa.md 9.3 */
  uint8_t det_class;                                    /* D0..D3 of isa.md 9.4 */
  uint8_t xq_bits; /* linear: bit per activation quantisation (not in the sketch: xq decides */
                   /* the numbers, so that it must decide placement too) */
  uint8_t reserved;
} tg_row;

enum {
  TG_ROW_SINKS = 1,
  TG_ROW_SOFTCAP = 2,
  TG_ROW_WINDOW = 4,
  TG_ROW_LATENT = 8,   /* attn: a cache whose keys are its values */
  TG_ROW_SELECTED = 16 /* attn: keys chosen by an operand */
};

/* ---- memory: arenas only; the host plans everything ------------------------------------------*/

enum {
  TG_MEM_DEVICE = 0, /* only the device touches it */
  TG_MEM_HOST = 1    /* mem_map gives the host a pointer to it: step parameters, outputs */
};

/* ---- weights ---------------------------------------------------------------------------------*/

/* How the program's ops use a weight; a backend chooses its private form by these. */
enum {
  TG_USE_MATRIX = 1,  /* w of linear, [N, K] */
  TG_USE_ROWS = 2,    /* table of embed, [V, d] */
  TG_USE_VECTOR = 4,  /* norm weights, biases, rope frequencies, sinks */
  TG_USE_BATCHED = 8, /* b of bmm, [G, N, K] or transposed [G, K, N] */
  TG_USE_GROUPED = 16 /* w of grouped_linear, [E, N, K] */
};

typedef struct tg_wdesc {
  uint32_t size;
  uint32_t symbol, layer; /* position in the program's weight table; layer 0 if it has none */
  uint8_t dtype;
  uint8_t rank;
  uint16_t uses; /* TG_USE_* */
  int64_t dims[4];
  const void* ref_bytes; /* canonical bytes, row-major; borrowed for the call */
  uint64_t ref_size;
} tg_wdesc;

/* ---- KV cache: opaque layout, known size -----------------------------------------------------*/

typedef struct tg_kvdesc {
  uint32_t size;
  uint32_t heads, dk, dv, page_tokens;
  uint8_t format;
  uint8_t reserved[3];
  uint32_t latent; /* keys only (dv 0): the first `latent` channels of a key are its value */
  uint32_t reserved2;
} tg_kvdesc;

typedef struct tg_kv_layout {
  uint32_t size;
  uint32_t align;
  uint64_t page_bytes; /* one page of one layer */
} tg_kv_layout;

typedef struct tg_pagecopy {
  uint32_t size;
  uint32_t reserved;
  tg_buf buf;
  uint64_t from, to, bytes; /* offsets in buf; the ranges do not overlap */
} tg_pagecopy;

/* ---- plan: program in, segments out ----------------------------------------------------------*/

typedef struct tg_host {
  uint32_t size;
  void (*log)(int level, const char* line); /* 0 debug .. 3 error */
  /* The verified canonical program (.tgp), read-only, valid until the plan is freed. Bytes rather
   * than the sketch's words: the file format is defined in bytes. */
  const uint8_t* (*program)(void* handle, uint64_t* bytes);
} tg_host;

typedef struct tg_planopts {
  uint32_t size;
  uint32_t threads;     /* 0: as many as the device has */
  const char* function; /* "main", or the entry that may run when nothing is cached */
  uint32_t max_tokens, max_sequences, max_rows, max_context;
} tg_planopts;

/* A convex set of ops: indices into the unrolled function, each after those it depends on. Segments
 * run in order. Fused super-ops live here; metering never sees them. */
typedef struct tg_segment {
  uint32_t size;
  uint32_t n_ops;
  const uint32_t* ops;
  const char* name;
  uint64_t workspace; /* scratch bytes while it runs; segments share one scratch buffer */
  uint32_t flags;     /* none defined */
  uint32_t reserved;
} tg_segment;

/* Not in the sketch: values that live from one segment to the next are the backend's to place (it
 * knows what fusion removed), so that it reports one size and the host gives one buffer. */
typedef struct tg_plan_info {
  uint32_t size;
  uint32_t n_segments;
  const tg_segment* segments;
  uint64_t activations; /* bytes */
  uint64_t output;      /* bytes of the function's results, in order, each aligned; four bytes an
                           element: f16 and bf16 are written as the f32 they stand for */
  /* The one thing a backend measures: run() writes, for every `route` in the order of the unrolled
   * function, the number of distinct experts chosen, as uint32_t at this offset of the output. */
  uint64_t routes;
  uint32_t n_routes;
  uint32_t reserved;
} tg_plan_info;

/* ---- bind: all addresses fixed here ----------------------------------------------------------*/

typedef struct tg_wplace {
  uint32_t symbol, layer;
  uint64_t offset, bytes; /* in the weight arena, as packed */
} tg_wplace;

typedef struct tg_kvplace {
  uint32_t symbol, layer;
  uint64_t offset, page_bytes; /* page p begins at offset + p * page_bytes */
  uint32_t pages, reserved;
} tg_kvplace;

/* Byte offsets of the i32 arrays of one step in its parameter block. Capacities are those of the
 * plan's limits; used lengths come from tg_step. */
typedef struct tg_param_layout {
  uint32_t size;
  uint32_t reserved;
  uint64_t bytes;      /* of a whole block */
  uint64_t ids;        /* [T] */
  uint64_t pos;        /* [T], or [n,T] if the function's positions are that */
  uint64_t rows;       /* [R] token indices */
  uint64_t cu;         /* [S+1] cumulative new tokens */
  uint64_t past;       /* [S] keys cached before the step */
  uint64_t page_begin; /* [S+1] into pages */
  uint64_t pages;      /* page ids */
  uint64_t slots;      /* [T] page * page_tokens + offset; -1: no write */
} tg_param_layout; /* inside tg_bindings: it never grows, further offsets are at the end of those */

/* A range of words in the block's `lists`. */
typedef struct tg_list {
  uint32_t first, count;
} tg_list;

/* How a row of logits becomes a token (the params operand); never changes. */
typedef struct tg_sample_row {
  float temperature, top_p, min_p;
  float repetition_penalty, presence_penalty, frequency_penalty;
  int32_t top_k;
  uint32_t reserved;
  uint64_t seed, position;
  tg_list prompt, output; /* token ids */
  tg_list bias;           /* pairs of words: token id, bits of an f32 */
  tg_list allowed;        /* a bit per token, lowest first; empty: all */
} tg_sample_row;

typedef struct tg_bindings {
  uint32_t size;
  uint32_t n_weights, n_kv;
  uint32_t reserved;
  tg_buf weights;
  const tg_wplace* weight_places;
  tg_buf kv;
  const tg_kvplace* kv_places;
  tg_buf params; /* one block, or a ring of them: tg_step says where */
  tg_param_layout layout;
  tg_buf activations;
  tg_buf workspace; /* the largest segment's */
  tg_buf output;    /* TG_MEM_HOST */
  /* Further arrays of the parameter block, as layout's. */
  uint64_t tree;    /* [T] i32, parent among the sequence's new tokens; -1: the one before it */
  uint64_t samples; /* [R] tg_sample_row, if the function has sampling parameters */
  uint64_t lists;   /* words that tg_sample_row's lists are ranges of */
} tg_bindings;

/* ---- run -------------------------------------------------------------------------------------*/

/* Exact integers of a step. The host has checked every index in the parameter block: a backend may
 * trust them. (The sketch's A and K sums serve metering alone and are left out.) */
typedef struct tg_step {
  uint32_t size;
  uint32_t T, S, R;
  uint32_t bound_T, bound_S, bound_context; /* replay-wide bounds: launch sizing, never semantics */
  uint32_t reserved;
  uint64_t params; /* byte offset of the step's block in bindings.params (the sketch's device */
                   /* address: an offset keeps pointers out of captured graphs) */
} tg_step;

typedef struct tg_comm {
  uint32_t size;
  uint32_t rank, ranks;
  uint8_t id[128];
} tg_comm;

/* ---- the table -------------------------------------------------------------------------------*/

typedef struct tg_backend {
  uint32_t size;
  uint32_t abi_major, abi_minor;
  uint32_t reserved;
  const char *vendor, *name, *version;

  /* 1 devices */
  tg_status (*dev_count)(uint32_t* count);
  tg_status (*dev_open)(uint32_t index, tg_dev* dev);
  void (*dev_close)(tg_dev dev);
  tg_status (*dev_props)(tg_dev dev, tg_props* props);
  tg_status (*rows)(tg_dev dev, const tg_row** rows, uint32_t* count);
  /* One line about the last call that failed on this device, naming the thing and its value; not in
   * the sketch, but a bare status is no error message. Since minor 2 a null device asks about the
   * last dev_count or dev_open that failed ("" if none did): why there is no device. */
  const char* (*error_text)(tg_dev dev);

  /* 2 memory; fresh memory reads as zero */
  tg_status (*mem_alloc)(tg_dev dev, uint64_t bytes, uint32_t kind, tg_buf* buf);
  void (*mem_free)(tg_buf buf);
  tg_status (*mem_map)(tg_buf buf, void** host); /* TG_MEM_HOST buffers; valid until mem_free */
  tg_status (*mem_import)(tg_dev dev, void* host, uint64_t bytes, tg_buf* buf); /* may be NULL */
  tg_status (*copy)(tg_stream stream, tg_buf to, uint64_t to_offset, tg_buf from,
                    uint64_t from_offset, uint64_t bytes);

  /* 3 streams and events */
  tg_status (*stream_new)(tg_dev dev, tg_stream* stream);
  void (*stream_free)(tg_stream stream);
  tg_status (*stream_sync)(tg_stream stream);
  tg_status (*event_record)(tg_stream stream, tg_event* event);
  tg_status (*event_wait)(tg_stream stream, tg_event event);
  tg_status (*event_query)(tg_event event, int* done, uint64_t* ns);
  void (*event_free)(tg_event event);

  /* 4 weights and KV: private layouts, public sizes */
  tg_status (*pack_size)(tg_dev dev, const tg_wdesc* weight, uint64_t* bytes);
  tg_status (*pack)(tg_stream stream, const tg_wdesc* weight, tg_buf buf, uint64_t offset);
  tg_status (*kv_layout)(tg_dev dev, const tg_kvdesc* kv, tg_kv_layout* layout);
  tg_status (*kv_copy)(tg_stream stream, const tg_pagecopy* copies, uint32_t count);

  /* 5 plan, bind, run */
  tg_status (*plan)(tg_dev dev, const tg_host* host, void* handle, const tg_planopts* options,
                    tg_plan* plan);
  tg_status (*plan_info)(tg_plan plan, tg_plan_info* info);
  void (*plan_free)(tg_plan plan);
  tg_status (*bind)(tg_plan plan, const tg_bindings* bindings, tg_exec* exec);
  void (*exec_free)(tg_exec exec); /* before its plan and its buffers */
  tg_status (*run)(tg_exec exec, uint32_t segment_first, uint32_t segment_count,
                   const tg_step* step, tg_stream stream);

  /* 6 capture, 7 collectives, 8 timing: each may be NULL */
  tg_status (*capture_begin)(tg_exec exec, tg_stream stream);
  tg_status (*capture_end)(tg_exec exec, const tg_step* step, uint32_t* graph);
  tg_status (*replay)(tg_exec exec, uint32_t graph, const tg_step* step, tg_stream stream);
  tg_status (*comm_init)(tg_dev dev, const tg_comm* comm, void** handle);
  /* Nanoseconds of each of the plan's segments in the last run. The first call turns it on, and
   * answers zeros: nobody pays for clocks that nobody reads. TG_E_INVALID for another count. */
  tg_status (*segment_times)(tg_exec exec, uint64_t* ns, uint32_t count);
} tg_backend;

#if defined(__GNUC__)
#define TG_EXPORT __attribute__((visibility("default")))
#else
#define TG_EXPORT
#endif

/* The one exported symbol. NULL if the host's major is not this backend's. */
TG_EXPORT const tg_backend* tg_backend_get(uint32_t host_abi_major, uint32_t host_abi_minor);

#ifdef __cplusplus
}
#endif

#endif
