/* safetensors.h: reads one safetensors file (huggingface/safetensors, format 0.3), trusting
 * nothing.
 *
 *     ng_safetensors *f;
 *     if (ng_safetensors_open(&f, "model.safetensors", &err)) ..
 *     const ng_st_tensor *t = ng_safetensors_find(f, "model.embed_tokens.weight");
 *     ng_safetensors_close(f);                       t->data dies here
 *
 * The file is mapped.  Names, types, shapes and every offset are checked: tensors lie one after the
 * other, without gap or overlap, and fill the file.  Immutable, so threads may share it. */
#ifndef NG_QUANT_SAFETENSORS_H
#define NG_QUANT_SAFETENSORS_H

#include "gguf/gguf.h"

enum { NG_ST_DIMS_MAX = 8, NG_ST_HEADER_BYTES_MAX = 4 << 20, NG_ST_TENSORS_MAX = 1 << 16 };

typedef struct ng_st_tensor {
    const char *name;
    const char *dtype;             /* "F32", "BF16", "I64", "F8_E4M3", .. */
    int32_t type;                  /* the ng_type of the same bytes, or -1 */
    uint32_t n_dims;               /* 0..8 */
    uint64_t dims[NG_ST_DIMS_MAX]; /* slowest first, as in the file: [rows, columns] */
    const void *data;              /* no alignment is promised */
    size_t bytes;
} ng_st_tensor;

typedef struct ng_safetensors ng_safetensors;
ng_status ng_safetensors_open(ng_safetensors **out, const char *path, ng_error *err) NG_MUST_USE;
/* The same over memory that outlives the result; `name` is for messages. */
ng_status ng_safetensors_open_memory(ng_safetensors **out, const void *data, size_t len,
                                     const char *name, ng_error *err) NG_MUST_USE;
void ng_safetensors_close(ng_safetensors *f);

const char *ng_safetensors_path(const ng_safetensors *f);
size_t ng_safetensors_file_bytes(const ng_safetensors *f);
size_t ng_safetensors_n_tensors(const ng_safetensors *f);
const ng_st_tensor *ng_safetensors_at(const ng_safetensors *f,
                                      size_t i); /* in the order of the data */
const ng_st_tensor *ng_safetensors_find(const ng_safetensors *f,
                                        const char *name); /* NULL when absent */
/* "__metadata__": NULL when there is none; else key i < n, and its value. */
size_t ng_safetensors_n_meta(const ng_safetensors *f);
const char *ng_safetensors_meta(const ng_safetensors *f, size_t i, const char **value);

#endif
