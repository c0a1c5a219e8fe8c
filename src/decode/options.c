/* options.c: the defaults of a generation and the ranges of its fields. */
#include <nanogrid/generate.h>

#include <nanogrid/text.h>
#include <string.h>

enum { STOP_MAX = 16, STOP_BYTES_MAX = 256, TOP_MAX = 20 };

ng_generate_options ng_generate_options_default(void) {
    return (ng_generate_options){.n_predict = 128,
                                 .temp = 0.8f,
                                 .top_k = 40,
                                 .top_p = 0.95f,
                                 .min_p = 0.05f,
                                 .repeat_penalty = 1};
}

static ng_status check_stop(const ng_generate_options *o, ng_error *err) {
    if (o->n_stop > STOP_MAX)
        return ng_fail(err, NG_EINVALID, "stop: %zu texts, at most %d", o->n_stop, STOP_MAX);
    for (size_t i = 0; i < o->n_stop; i++) {
        size_t len = strlen(o->stop[i]);
        if (len < 1 || len > STOP_BYTES_MAX)
            return ng_fail(err, NG_EINVALID, "stop: text %zu has %zu bytes, 1 to %d are allowed", i, len,
                           STOP_BYTES_MAX);
        if (ng_utf8_invalid_at(o->stop[i], len) < len)
            return ng_fail(err, NG_EINVALID, "stop: text %zu is not valid UTF-8", i);
    }
    return NG_OK;
}

ng_status ng_generate_options_check(const ng_generate_options *o, ng_error *err) {
    const struct {
        const char *name;
        float value, least, most;
    } ranges[] = {
        {"temperature", o->temp, 0, 10},
        {"top_p", o->top_p, 0, 1},
        {"min_p", o->min_p, 0, 1},
        {"repeat_penalty", o->repeat_penalty, 0.01f, 10},
        {"frequency_penalty", o->frequency_penalty, -2, 2},
        {"presence_penalty", o->presence_penalty, -2, 2},
    };
    if (o->n_predict < 1)
        return ng_fail(err, NG_EINVALID, "the number of tokens to generate must be at least 1");
    if (o->n_top > TOP_MAX)
        return ng_fail(err, NG_EINVALID, "logprobs: %u asked for, at most %d", (unsigned)o->n_top, TOP_MAX);
    for (size_t i = 0; i < sizeof ranges / sizeof ranges[0]; i++)
        if (!(ranges[i].value >= ranges[i].least && ranges[i].value <= ranges[i].most)) /* NaN too */
            return ng_fail(err, NG_EINVALID, "%s is %g, it must lie in %g to %g", ranges[i].name,
                           (double)ranges[i].value, (double)ranges[i].least, (double)ranges[i].most);
    return check_stop(o, err);
}
