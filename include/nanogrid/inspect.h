/* inspect.h: what is in a model file (GGUF or safetensors), without running it.
 *
 *     ng_inspection *i;
 *     if (ng_inspect_open(&i, "model.gguf", &err)) ..
 *     printf("%s, %llu parameters\n", ng_inspect_get_summary(i).architecture, ..);
 *     ng_inspect_text(&buf, i, true);                with the list of tensors
 *     ng_inspect_close(i);
 *
 * Opening checks the whole header, so "it opens" means that sizes, offsets and names are sound. */
#ifndef NANOGRID_INSPECT_H
#define NANOGRID_INSPECT_H

#include <nanogrid/json.h>

typedef struct ng_inspection ng_inspection;

typedef struct ng_inspect_summary {
    const char *file, *format;       /* format: "gguf", "safetensors" */
    const char *architecture, *name; /* "" when the file does not say */
    uint64_t parameters;             /* elements of all tensors */
    size_t bytes, n_tensors;         /* of the file */
} ng_inspect_summary;

NG_API ng_status ng_inspect_open(ng_inspection **out, const char *path, ng_error *err) NG_MUST_USE;
NG_API void ng_inspect_close(ng_inspection *i);
NG_API ng_inspect_summary ng_inspect_get_summary(const ng_inspection *i);
/* {"file", "format", "architecture", "name", "parameters", "bytes", "n_tensors",
 *  "types": {"F32": {"tensors", "bytes"}, ..}, "metadata": {key: value, ..},
 *  with `tensors` "tensors": [{"name", "type", "shape": [slowest first], "bytes"}, ..]}
 * A metadata array of more than 16 elements is {"type", "length", "first": [16 elements]}. */
NG_API void ng_inspect_json(ng_json *j, const ng_inspection *i, bool tensors);
/* The same for people; long values are cut. */
NG_API void ng_inspect_text(ng_buf *out, const ng_inspection *i, bool tensors);

#endif
