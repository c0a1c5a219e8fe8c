/* cli.c: what every verb shares: reading texts and ids, printing results, failing well.  See cli.h. */
#include "cli.h"

#include <nanogrid/text.h>

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

int cli_fail(const ng_error *err) {
    fprintf(stderr, "nanogrid: %s\n", err->text[0] ? err->text : ng_status_text(err->code));
    return ng_status_exit_code(err->code);
}

int cli_usage(const char *fmt, ...) {
    va_list ap;
    va_start(ap, fmt);
    fputs("nanogrid: ", stderr);
    vfprintf(stderr, fmt, ap);
    fputc('\n', stderr);
    va_end(ap);
    return 2;
}

ng_status cli_read(ng_buf *out, const char *path, ng_error *err) {
    bool standard = !path || !strcmp(path, "-");
    FILE *f = standard ? stdin : fopen(path, "rbe");
    if (!f) return ng_fail(err, errno == ENOENT ? NG_ENOTFOUND : NG_EIO, "cannot open %s: %s", path, strerror(errno));
    while (!out->status && !feof(f) && !ferror(f)) {
        if (ng_buf_reserve(out, 65536)) break;
        out->len += fread(out->data + out->len, 1, 65536, f);
        out->data[out->len] = 0;
    }
    bool bad = ferror(f);
    if (!standard) fclose(f);
    if (bad) return ng_fail(err, NG_EIO, "cannot read %s: %s", standard ? "standard input" : path, strerror(errno));
    if (out->status)
        return ng_fail(err, out->status, "%s: %s (at most %zu bytes)", standard ? "standard input" : path,
                       ng_status_text(out->status), out->max);
    return NG_OK;
}

ng_status cli_text(ng_buf *out, int argc, char **argv, ng_error *err) {
    if (argc > 1)
        return ng_fail(err, NG_EINVALID, "one TEXT at most, %d given; put quotes around it", argc);
    if (argc == 1 && strcmp(argv[0], "-")) ng_buf_puts(out, argv[0]);
    else if (cli_read(out, NULL, err)) return err->code;
    else if (out->len && out->data[out->len - 1] == '\n') out->data[--out->len] = 0;
    size_t bad = ng_utf8_invalid_at(out->data, out->len);
    if (bad < out->len)
        return ng_fail(err, NG_EFORMAT, "the text is not valid UTF-8: byte %zu (0x%02x)", bad,
                       (unsigned char)out->data[bad]);
    return out->status ? ng_fail(err, out->status, "%s", ng_status_text(out->status)) : NG_OK;
}

ng_status cli_ids(const char *text, int32_t **ids, size_t *n, ng_error *err) {
    size_t cap = 1;
    for (const char *p = text; *p; p++) cap += *p == ',';
    *n = 0;
    *ids = malloc(cap * sizeof **ids);
    if (!*ids) return ng_fail(err, NG_ENOMEM, "out of memory");
    for (const char *p = text; *p;) {
        char *end;
        errno = 0;
        long v = strtol(p, &end, 10);
        if (end == p || errno || v < 0 || v > INT32_MAX || (*end && *end != ',') || (*end == ',' && !end[1])) {
            free(*ids);
            *ids = NULL;
            return ng_fail(err, NG_EINVALID, "--tokens: '%.20s' is not a list of ids such as 1,2,3", p);
        }
        (*ids)[(*n)++] = (int32_t)v;
        p = *end ? end + 1 : end;
    }
    return NG_OK;
}

int cli_print(const ng_buf *b) {
    if (b->status) {
        fprintf(stderr, "nanogrid: the result could not be written: %s\n", ng_status_text(b->status));
        return 1;
    }
    if (fwrite(b->data, 1, b->len, stdout) != b->len || putchar('\n') == EOF || fflush(stdout)) {
        fprintf(stderr, "nanogrid: cannot write to standard output: %s\n", strerror(errno));
        return 1;
    }
    return 0;
}

static double now_ms(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec * 1e3 + (double)t.tv_nsec * 1e-6;
}

void cli_progress_step(cli_progress *p, double done, double total) {
    double now = now_ms();
    if (!p->started_ms) p->started_ms = now;
    if (now - p->started_ms < 1000 || now - p->drawn_ms < 100 || !isatty(STDERR_FILENO)) return;
    int width = 30, full = total > 0 ? (int)(done / total * width) : 0;
    full = full < 0 ? 0 : full > width ? width : full;
    double left_s = done > 0 ? (now - p->started_ms) / 1e3 * (total - done) / done : 0;
    fprintf(stderr, "\r%s [%.*s%*s] %3.0f %%  %.0f s left \033[K", p->what, full, "##############################",
            width - full, "", total > 0 ? 100 * done / total : 0, left_s);
    p->drawn_ms = now;
    p->shown = true;
}

void cli_progress_end(cli_progress *p) {
    if (p->shown) fputs("\r\033[K", stderr);
}
