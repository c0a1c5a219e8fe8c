/* memory.c: predicts and checks memory.  See nanogrid/memory.h.
 *
 * Page tables take 8 bytes a page of 4 KiB; a machine that fills its memory to the last page drops the files
 * it runs from and crawls, so a sixty-fourth of it (32 to 256 MiB) is left to it. */
#include "arch.h"

#include "core/budget.h"
#include <nanogrid/memory.h>
#include <nanogrid/system.h>

#include <stdio.h>
#include <string.h>

enum {
    OS_LEAST = 32 << 20,
    OS_MOST = 256 << 20,
    PAGE_TABLE_SHARE = 4096 / 8,
    PROCESS_GROWTH = 256 << 10, /* code and buffers that a process touches between the prediction and its peak */
    SCRATCH_STAYS = 64 << 20, /* at most, of the scratch of any context */
    TEXT_MAX = 256,
};

uint64_t ng_memory_resident(const ng_memory_need *n) {
    return n->weights_bytes + n->panels_bytes + n->tables_bytes + n->kv_bytes + n->scratch_bytes + n->process_bytes;
}

static uint64_t os_share(uint64_t total, uint64_t new_bytes) {
    uint64_t s = total / 64;
    return (s < OS_LEAST ? OS_LEAST : s > OS_MOST ? OS_MOST : s) + new_bytes / PAGE_TABLE_SHARE;
}

void ng_memory_of_model(ng_memory_need *out, const ng_model *m) {
    *out = (ng_memory_need){.weights_bytes = m->bytes.stored, .panels_bytes = m->bytes.panels,
                            .tables_bytes = m->bytes.tables, .kv_bytes_per_tok = m->info.kv_bytes_per_tok,
                            .weights_file_bytes = m->info.weight_bytes, .file_type = m->info.file_type};
}

ng_status ng_memory_predict(ng_memory_need *out, const char *path, const ng_session_options *opt, ng_error *err) {
    ng_model *m;
    ng_budget b;
    *out = (ng_memory_need){0};
    ng_status s = ng_budget_get(&b, err);
    if (s) return s;
    uint64_t held;
    ng_memory_self(&held, NULL);
    if ((s = ng_model_open_header(&m, path, err))) return s;
    ng_memory_of_model(out, m);
    s = ng_session_measure(out, m, opt, err);
    out->process_bytes = held + PROCESS_GROWTH;
    out->os_bytes = os_share(b.total_bytes, ng_memory_resident(out) - out->process_bytes);
    ng_model_close(m);
    return s;
}

/* "12.3 MiB" */
static const char *mib(char out[32], uint64_t bytes) {
    double v = (double)bytes / (1 << 20);
    if (v < 1024) snprintf(out, 32, "%.1f MiB", v);
    else snprintf(out, 32, "%.2f GiB", v / 1024);
    return out;
}

/* What would help, the cheapest first. */
static void mend(char out[TEXT_MAX], const ng_memory_need *n, uint64_t available) {
    uint64_t fixed = ng_memory_resident(n) - n->process_bytes - n->kv_bytes;
    uint64_t page = n->kv_bytes_per_tok * NG_KV_PAGE_TOK;
    uint64_t n_fit = page && fixed < available ? (available - fixed) / page * NG_KV_PAGE_TOK : 0;
    if (!n_fit && n->n_ctx) { /* most of the scratch of a long context is for its tokens, too */
        uint64_t grows = (n->kv_bytes + n->scratch_bytes) / n->n_ctx * NG_KV_PAGE_TOK,
                 stays = fixed - n->scratch_bytes + SCRATCH_STAYS;
        if (page && grows && stays < available) n_fit = (available - stays) / grows * NG_KV_PAGE_TOK;
    }
    /* A page less: what a process holds differs by some 100 KiB from one start to the next. */
    if (n_fit > NG_KV_PAGE_TOK) n_fit -= NG_KV_PAGE_TOK;
    if (n_fit && n_fit < n->n_ctx) {
        snprintf(out, TEXT_MAX, "a context of %llu tokens fits", (unsigned long long)n_fit);
        return;
    }
    snprintf(out, TEXT_MAX,
             "use a file of a smaller type than %s (nanogrid quantize) or a smaller model, or free memory",
             n->file_type);
}

ng_status ng_memory_check(const ng_memory_need *n, const char *path, ng_error *err) {
    ng_budget b;
    ng_status s = ng_budget_get(&b, err);
    if (s) return s;
    uint64_t need = ng_memory_resident(n) - n->process_bytes, os = os_share(b.total_bytes, need);
    need += os;
    if (need <= b.available_bytes) return NG_OK;
    char all[32], has[32], weights[32], kv[32], scratch[32], share[32], help[TEXT_MAX];
    mend(help, n, b.available_bytes > os ? b.available_bytes - os : 0);
    return ng_fail(err, NG_ENOMEM, "%.150s needs %s more memory (weights %s, KV cache of %u tokens %s, scratch and tables %s, system %s), but %s %s available; %s",
                   path, mib(all, need), mib(weights, n->weights_bytes + n->panels_bytes), n->n_ctx, mib(kv, n->kv_bytes),
                   mib(scratch, n->scratch_bytes + n->tables_bytes), mib(share, os), mib(has, b.available_bytes),
                   !strcmp(b.limited_by, "machine") ? "is" : !strcmp(b.limited_by, "cgroup") ? "of the cgroup is" : "of NANOGRID_MEMORY is", help);
}
