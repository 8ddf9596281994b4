/* A whole backend in plain C: every function of the table that a minimal port needs, one op per
 * segment, single-threaded, on top of the reference kernels. It is slow and it is right. Its memory
 * is the host's; where a device differs, a comment says DEVICE and what would change. */
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "backend/abi.h"
#include "backend/kit/reference_kernels.h"
#include "backend/kit/vendor_kernels.h"

enum { ALIGNMENT = 64, ROWS_MAX = 64, TEXT_MAX = 256 };

struct tg_dev_s {
  tg_row rows[ROWS_MAX];
  uint32_t n_rows;
  char error[TEXT_MAX];
};
struct tg_stream_s {
  tg_dev device;
};
struct tg_buf_s {
  uint8_t* data;
  uint64_t bytes;
  uint32_t kind;
};
struct tg_plan_s {
  tg_dev device;
  const tgk_program* program;
  tg_planopts limits;
  tg_segment* segments; /* one per op */
  uint32_t* indices;    /* 0, 1, 2, ...: what the segments point to */
  uint64_t* offsets;    /* of each value, in the activations or the output */
  uint8_t* in_output;   /* whether a value is a result */
  uint64_t activations, output;
};

/* An operand found once, at bind: where a weight or constant lies. */
struct tg_exec_s {
  tg_plan plan;
  tg_bindings bindings;
  tgk_call* calls; /* one per op, everything that no step changes filled in */
  tgk_kernel* kernels;
};

static tg_status fail(tg_dev device, tg_status status, const char* text) {
  snprintf(device->error, sizeof(device->error), "skeleton: %s", text);
  return status;
}

static uint64_t align_up(uint64_t n) {
  return (n + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
}

/* ---- devices ----------------------------------------------------------------------------------*/

/* What it can do, and how well: opcode, error class (isa.md 9.3). Types are left open, because
 * every kernel works on decoded f32. A real device lists the types it has. */
static const struct {
  uint16_t op;
  uint8_t error;
} claims[] = {{2, 0},  {3, 0},  {4, 0},  {5, 0},  {6, 1},  {7, 3},  {8, 3},  {9, 4},  {10, 4},
              {11, 1}, {12, 1}, {13, 4}, {14, 2}, {15, 2}, {16, 4}, {17, 2}, {18, 0}, {19, 4}};
enum { OP_LINEAR = 7, OP_ATTN = 19, OP_KV_APPEND = 18, DTYPE_F32 = 7 };

static tg_status dev_count(uint32_t* count) {
  *count = 1;
  return TG_OK;
}

static tg_status dev_open(uint32_t index, tg_dev* device) {
  if (index != 0) return TG_E_INVALID;
  tg_dev d = calloc(1, sizeof(*d));
  if (d == NULL) return TG_E_MEMORY;
  for (size_t i = 0; i < sizeof(claims) / sizeof(claims[0]); ++i) {
    tg_row* row = &d->rows[d->n_rows++];
    *row = (tg_row){.size = sizeof(tg_row),
                    .op = claims[i].op,
                    .op_version = 1,
                    .x = TG_ANY,
                    .w = TG_ANY,
                    .acc = TG_ANY,
                    .y = TG_ANY,
                    .kv = TG_ANY,
                    .err_class = claims[i].error,
                    .det_class = 2};
    if (row->op == OP_LINEAR) row->xq_bits = 0x3F; /* every way to quantise activations */
    if (row->op != OP_ATTN) continue;
    row->mask_bits = 1; /* causal */
    row->flags = TG_ROW_SINKS | TG_ROW_SOFTCAP | TG_ROW_WINDOW | TG_ROW_LATENT;
  }
  *device = d;
  return TG_OK;
}

static void dev_close(tg_dev device) {
  free(device);
}

static tg_status dev_props(tg_dev device, tg_props* props) {
  if (props->size < sizeof(tg_props)) return fail(device, TG_E_INVALID, "tg_props is too small");
  *props =
      (tg_props){.size = sizeof(tg_props), .cores = 1, .alignment = ALIGNMENT, .max_threads = 1};
  snprintf(props->name, sizeof(props->name), "skeleton");
  return TG_OK;
}

static tg_status dev_rows(tg_dev device, const tg_row** rows, uint32_t* count) {
  *rows = device->rows;
  *count = device->n_rows;
  return TG_OK;
}

static const char* error_text(tg_dev device) {
  return device ? device->error : "";
}

/* ---- memory
 * ------------------------------------------------------------------------------------*/

/* DEVICE: TG_MEM_DEVICE from your allocator, TG_MEM_HOST pinned and visible to both. */
static tg_status mem_alloc(tg_dev device, uint64_t bytes, uint32_t kind, tg_buf* buf) {
  tg_buf b = calloc(1, sizeof(*b));
  if (b != NULL) b->data = aligned_alloc(ALIGNMENT, align_up(bytes ? bytes : 1));
  if (b == NULL || b->data == NULL) {
    free(b);
    return fail(device, TG_E_MEMORY, "out of memory");
  }
  memset(b->data, 0, align_up(bytes ? bytes : 1));
  b->bytes = bytes;
  b->kind = kind;
  *buf = b;
  return TG_OK;
}

static void mem_free(tg_buf buf) {
  if (buf == NULL) return;
  free(buf->data);
  free(buf);
}

static tg_status mem_map(tg_buf buf, void** host) {
  if (buf->kind != TG_MEM_HOST) return TG_E_INVALID;
  *host = buf->data;
  return TG_OK;
}

static uint8_t* at(tg_buf buf, uint64_t offset) {
  return buf == NULL ? NULL : buf->data + offset;
}

/* ---- streams: work is done when the call returns
 * ------------------------------------------------*/

static tg_status stream_new(tg_dev device, tg_stream* stream) {
  tg_stream s = calloc(1, sizeof(*s));
  if (s == NULL) return fail(device, TG_E_MEMORY, "out of memory");
  s->device = device;
  *stream = s;
  return TG_OK;
}

static void stream_free(tg_stream stream) {
  free(stream);
}

static tg_status stream_sync(tg_stream stream) {
  (void)stream;
  return TG_OK;
}

/* ---- weights and cache: our private form is f32
 * --------------------------------------------------*/

static int64_t weight_elements(const tg_wdesc* w) {
  int64_t n = 1;
  for (int i = 0; i < w->rank && i < TGK_RANK_MAX; ++i) n *= w->dims[i];
  return n;
}

static tg_status pack_size(tg_dev device, const tg_wdesc* w, uint64_t* bytes) {
  if (w->size < offsetof(tg_wdesc, ref_size) + sizeof(w->ref_size) || w->rank < 1 || w->rank > 4) {
    return fail(device, TG_E_INVALID, "a malformed weight");
  }
  *bytes = (uint64_t)weight_elements(w) * sizeof(float);
  return TG_OK;
}

/* DEVICE: reorder for your matrix unit, keep the codec's bits, copy to `buf`. */
static tg_status pack(tg_stream stream, const tg_wdesc* w, tg_buf buf, uint64_t offset) {
  int64_t columns = w->dims[w->rank - 1];
  int64_t rows = weight_elements(w) / columns;
  float* to = (float*)(void*)at(buf, offset);
  if (tgk_decode(w->dtype, w->ref_bytes, w->ref_size, rows, columns, to) == 0) return TG_OK;
  return fail(stream->device, TG_E_UNSUPPORTED, tgk_dtype_name(w->dtype));
}

static tg_status kv_layout(tg_dev device, const tg_kvdesc* kv, tg_kv_layout* layout) {
  if (kv->size < offsetof(tg_kvdesc, reserved) + sizeof(kv->reserved)) {
    return fail(device, TG_E_INVALID, "a malformed cache");
  }
  uint64_t token = (uint64_t)kv->heads * (kv->dk + kv->dv) * sizeof(float);
  *layout = (tg_kv_layout){.size = sizeof(tg_kv_layout),
                           .align = ALIGNMENT,
                           .page_bytes = align_up(token * kv->page_tokens)};
  return TG_OK;
}

static tg_status kv_copy(tg_stream stream, const tg_pagecopy* copies, uint32_t count) {
  (void)stream;
  for (uint32_t i = 0; i < count; ++i) {
    memcpy(at(copies[i].buf, copies[i].to), at(copies[i].buf, copies[i].from), copies[i].bytes);
  }
  return TG_OK;
}

/* ---- plan: a place for every value, a segment for every op
 * ---------------------------------------*/

static int64_t evaluate(const tgk_dim* d, int64_t t, int64_t s, int64_t r) {
  return d->constant + d->t * t + d->s * s + d->r * r;
}

static uint64_t value_bytes(const tg_plan plan, uint32_t value) {
  const tgk_type* type = &plan->program->values[value];
  const tg_planopts* l = &plan->limits;
  uint64_t n = sizeof(float);
  for (int i = 0; i < type->rank; ++i) {
    n *= (uint64_t)evaluate(&type->dims[i], l->max_tokens, l->max_sequences, l->max_rows);
  }
  return align_up(n);
}

/* DEVICE: let values that do not live at the same time share memory. */
static void place_values(tg_plan plan) {
  const tgk_program* p = plan->program;
  for (uint32_t i = 0; i < p->n_results; ++i) {
    uint32_t value = p->results[i];
    plan->in_output[value] = 1;
    plan->offsets[value] = plan->output;
    plan->output += value_bytes(plan, value);
  }
  for (uint32_t i = 0; i < p->n_ops; ++i) {
    for (uint32_t k = 0; k < p->ops[i].n_out; ++k) {
      uint32_t value = p->ops[i].out[k];
      if (plan->in_output[value]) continue;
      plan->offsets[value] = plan->activations;
      plan->activations += value_bytes(plan, value);
    }
  }
}

static void plan_free(tg_plan plan) {
  if (plan == NULL) return;
  tgk_program_free(plan->program);
  free(plan->segments);
  free(plan->indices);
  free(plan->offsets);
  free(plan->in_output);
  free(plan);
}

static tg_status make_segments(tg_plan plan) {
  const tgk_program* p = plan->program;
  plan->segments = calloc(p->n_ops + 1, sizeof(*plan->segments));
  plan->indices = calloc(p->n_ops + 1, sizeof(*plan->indices));
  plan->offsets = calloc(p->n_values + 1, sizeof(*plan->offsets));
  plan->in_output = calloc(p->n_values + 1, sizeof(*plan->in_output));
  if (!plan->segments || !plan->indices || !plan->offsets || !plan->in_output) {
    return fail(plan->device, TG_E_MEMORY, "out of memory");
  }
  for (uint32_t i = 0; i < p->n_ops; ++i) {
    int64_t scratch = tgk_scratch(p, &p->ops[i], plan->limits.max_context);
    if (tgk_reference_kernel(p->ops[i].code) == NULL && vendor_kernel(p->ops[i].code) == NULL) {
      return fail(plan->device, TG_E_UNSUPPORTED, p->ops[i].name);
    }
    plan->indices[i] = i;
    plan->segments[i] = (tg_segment){.size = sizeof(tg_segment),
                                     .n_ops = 1,
                                     .ops = &plan->indices[i],
                                     .name = p->ops[i].name,
                                     .workspace = (uint64_t)scratch * sizeof(double)};
  }
  place_values(plan);
  return TG_OK;
}

static tg_status plan_make(tg_dev device, const tg_host* host, void* handle,
                           const tg_planopts* options, tg_plan* out) {
  uint64_t n = 0;
  const uint8_t* bytes = host->program(handle, &n);
  tg_plan plan = calloc(1, sizeof(*plan));
  if (plan == NULL) return fail(device, TG_E_MEMORY, "out of memory");
  plan->device = device;
  plan->limits = *options;
  char why[TEXT_MAX - 16] = "";
  plan->program = tgk_program_read(bytes, n, options->function, why, sizeof(why));
  tg_status status = plan->program == NULL ? fail(device, TG_E_INVALID, why) : make_segments(plan);
  if (status != TG_OK) {
    plan_free(plan);
    return status;
  }
  *out = plan;
  return TG_OK;
}

static tg_status plan_info(tg_plan plan, tg_plan_info* info) {
  uint32_t size = info->size; /* A host may know fewer fields, or more: those stay zero. */
  if (size < offsetof(tg_plan_info, output) + sizeof(info->output)) {
    return fail(plan->device, TG_E_INVALID, "tg_plan_info is too small");
  }
  memset(info, 0, size);
  info->size = size;
  info->n_segments = plan->program->n_ops;
  info->segments = plan->segments;
  info->activations = plan->activations;
  info->output = plan->output;
  return TG_OK;
}

/* ---- bind: every address that no step changes
 * ------------------------------------------------------*/

static float* weight_at(const tg_bindings* b, const tgk_operand* o) {
  for (uint32_t i = 0; i < b->n_weights; ++i) {
    const tg_wplace* place = &b->weight_places[i];
    if (place->symbol == o->index && place->layer == o->layer) {
      return (float*)(void*)at(b->weights, place->offset);
    }
  }
  return NULL;
}

static void bind_cache(const tg_exec exec, const tgk_operand* o, tgk_cache* cache) {
  const tg_bindings* b = &exec->bindings;
  cache->type = exec->plan->program->caches[o->index];
  for (uint32_t i = 0; i < b->n_kv; ++i) {
    const tg_kvplace* place = &b->kv_places[i];
    if (place->symbol != o->index || place->layer != o->layer) continue;
    cache->base = (float*)(void*)at(b->kv, place->offset);
    cache->page_floats = (int64_t)(place->page_bytes / sizeof(float));
  }
}

/* The parameters of a function lie in the step's block, by their order: ids, positions, rows. */
static int parameter_of(const tgk_program* p, uint32_t value) {
  for (uint32_t i = 0; i < p->n_parameters; ++i) {
    if (p->parameters[i] == value) return (int)i;
  }
  return -1;
}

/* Addresses of values; those of parameters follow the step. */
static void bind_value(const tg_exec exec, uint32_t value, tgk_tensor* t) {
  const tg_plan plan = exec->plan;
  const tg_bindings* b = &exec->bindings;
  const tgk_type* type = &plan->program->values[value];
  t->rank = type->rank;
  t->dtype = type->dtype;
  if (!type->is_tensor || parameter_of(plan->program, value) >= 0) return;
  t->data =
      (float*)(void*)at(plan->in_output[value] ? b->output : b->activations, plan->offsets[value]);
}

static void bind_operand(const tg_exec exec, const tgk_operand* o, tgk_call* call, tgk_tensor* t) {
  const tgk_program* p = exec->plan->program;
  if (o->kind == TGK_VALUE) bind_value(exec, o->index, t);
  if (o->kind == TGK_CACHE) bind_cache(exec, o, &call->cache);
  if (o->kind == TGK_WEIGHT) {
    t->data = weight_at(&exec->bindings, o);
    t->rank = p->weights[o->index].rank;
    t->dtype = DTYPE_F32;
    memcpy(t->dims, p->weights[o->index].dims, sizeof(t->dims));
  }
  if (o->kind == TGK_CONSTANT) {
    t->data = (float*)(uintptr_t)p->constants[o->index].data;
    t->rank = p->constants[o->index].rank;
    t->dtype = DTYPE_F32;
    memcpy(t->dims, p->constants[o->index].dims, sizeof(t->dims));
  }
}

static void exec_free(tg_exec exec) {
  if (exec == NULL) return;
  free(exec->calls);
  free(exec->kernels);
  free(exec);
}

static tg_status bind(tg_plan plan, const tg_bindings* bindings, tg_exec* out) {
  const tgk_program* p = plan->program;
  tg_exec exec = calloc(1, sizeof(*exec));
  if (exec != NULL) exec->calls = calloc(p->n_ops + 1, sizeof(*exec->calls));
  if (exec != NULL) exec->kernels = calloc(p->n_ops + 1, sizeof(*exec->kernels));
  if (exec == NULL || exec->calls == NULL || exec->kernels == NULL) {
    exec_free(exec);
    return fail(plan->device, TG_E_MEMORY, "out of memory");
  }
  uint32_t known = bindings->size < sizeof(tg_bindings) ? bindings->size : sizeof(tg_bindings);
  memcpy(&exec->bindings, bindings, known);
  exec->plan = plan;
  for (uint32_t i = 0; i < p->n_ops; ++i) {
    const tgk_op* op = &p->ops[i];
    tgk_call* call = &exec->calls[i];
    call->op = op;
    call->n_in = op->n_in;
    call->scratch = (double*)(void*)at(exec->bindings.workspace, 0);
    for (uint32_t k = 0; k < op->n_in; ++k) bind_operand(exec, &op->in[k], call, &call->in[k]);
    if (op->n_out > 0) bind_value(exec, op->out[0], &call->out);
    tgk_kernel own = vendor_kernel(op->code);
    exec->kernels[i] = own != NULL ? own : tgk_reference_kernel(op->code);
  }
  /* The host's arrays of places are read no more after this call. */
  *out = exec;
  return TG_OK;
}

/* ---- run: no allocation, no waiting (R4)
 * -----------------------------------------------------------*/

static const int32_t* words(const tg_exec exec, const tg_step* step, uint64_t offset) {
  return (const int32_t*)(const void*)at(exec->bindings.params, step->params + offset);
}

/* Dimensions as this step has them, and where its parameters are. */
static void step_value(const tg_exec exec, const tg_step* step, uint32_t value, tgk_tensor* t) {
  const tgk_program* p = exec->plan->program;
  const tgk_type* type = &p->values[value];
  for (int i = 0; i < type->rank; ++i) {
    t->dims[i] = evaluate(&type->dims[i], step->T, step->S, step->R);
  }
  const tg_param_layout* l = &exec->bindings.layout;
  const uint64_t offsets[] = {l->ids, l->pos, l->rows};
  int parameter = parameter_of(p, value);
  if (parameter >= 0 && parameter < 3) {
    t->data = (float*)(uintptr_t)words(exec, step, offsets[parameter]);
  }
}

static tgk_batch step_batch(const tg_exec exec, const tg_step* step) {
  const tg_param_layout* l = &exec->bindings.layout;
  return (tgk_batch){.tokens = step->T,
                     .sequences = step->S,
                     .rows = step->R,
                     .cu = words(exec, step, l->cu),
                     .past = words(exec, step, l->past),
                     .page_begin = words(exec, step, l->page_begin),
                     .pages = words(exec, step, l->pages),
                     .slots = words(exec, step, l->slots)};
}

static int64_t tensor_elements(const tgk_tensor* t) {
  int64_t n = 1;
  for (uint32_t i = 0; i < t->rank; ++i) n *= t->dims[i];
  return n;
}

/* DEVICE: enqueue on `stream`; grids from step->bound_T and its kin, indices from the block. */
static tg_status run(tg_exec exec, uint32_t first, uint32_t count, const tg_step* step,
                     tg_stream stream) {
  const tgk_program* p = exec->plan->program;
  if (first > p->n_ops || count > p->n_ops - first) {
    return fail(stream->device, TG_E_INVALID, "run outside the plan");
  }
  tgk_batch batch = step_batch(exec, step);
  for (uint32_t i = first; i < first + count; ++i) {
    const tgk_op* op = &p->ops[i];
    tgk_call* call = &exec->calls[i];
    call->batch = batch;
    for (uint32_t k = 0; k < op->n_in; ++k) {
      if (op->in[k].kind == TGK_VALUE) step_value(exec, step, op->in[k].index, &call->in[k]);
    }
    if (op->n_out > 0) step_value(exec, step, op->out[0], &call->out);
    if (op->n_out > 0 && tensor_elements(&call->out) == 0) continue;
    exec->kernels[i](call);
    if (op->n_out > 0) tgk_round(call->out.dtype, call->out.data, tensor_elements(&call->out));
  }
  return TG_OK;
}

/* ---- the table
 * -----------------------------------------------------------------------------------*/

static const tg_backend backend = {
    .size = sizeof(tg_backend),
    .abi_major = TG_ABI_MAJOR,
    .abi_minor = TG_ABI_MINOR,
    .vendor = "tokengrid",
    .name = "skeleton",
    .version = "1.0",
    .dev_count = dev_count,
    .dev_open = dev_open,
    .dev_close = dev_close,
    .dev_props = dev_props,
    .rows = dev_rows,
    .error_text = error_text,
    .mem_alloc = mem_alloc,
    .mem_free = mem_free,
    .mem_map = mem_map,
    .stream_new = stream_new,
    .stream_free = stream_free,
    .stream_sync = stream_sync,
    .pack_size = pack_size,
    .pack = pack,
    .kv_layout = kv_layout,
    .kv_copy = kv_copy,
    .plan = plan_make,
    .plan_info = plan_info,
    .plan_free = plan_free,
    .bind = bind,
    .exec_free = exec_free,
    .run = run,
};

TG_EXPORT const tg_backend* tg_backend_get(uint32_t host_abi_major, uint32_t host_abi_minor) {
  (void)host_abi_minor;
  return host_abi_major == TG_ABI_MAJOR ? &backend : NULL;
}
