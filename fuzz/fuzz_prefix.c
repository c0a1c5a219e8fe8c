/* fuzz_prefix.c: any bytes as the file of a kept page.  The first byte says what of it is mended first (1: the
 * header, 2: the digest of the page, 4: the tokens), so that what is checked later is reached too, and how it is asked
 * for (8: as one that is near).  What is accepted must be exactly a header, the tokens and a page; what is refused must
 * say why and be gone. */
#include "core/file.h"
#include "model/prefix_file.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { PAGE_BYTES = 96, N_IDS = 128, HEAD_BYTES = 72, DIGEST_AT = 56, IDS_BYTES = N_IDS * 4,
       FILE_BYTES = HEAD_BYTES + IDS_BYTES + PAGE_BYTES };

static ng_prefix_dir dir;
static ng_prefix_key key;
static int32_t ids[N_IDS];
static char folder[] = "/tmp/ng-fuzz-prefix-XXXXXX", path[400];
static uint8_t good[FILE_BYTES];

static void clean(void) {
    ng_prefix_dir_close(&dir);
    ng_file_remove(path);
    rmdir(folder);
}

/* The second page of a text of 128 tokens, and what its file is called. */
static void start(void) {
    ng_error err = {0};
    ng_dir_list l;
    ng_map m;
    bool fresh;
    uint8_t page[PAGE_BYTES] = {1, 2, 3};
    for (int i = 0; i < N_IDS; i++) ids[i] = i * 7;
    if (!mkdtemp(folder) || ng_prefix_dir_open(&dir, folder, ng_digest_of("id", 2), PAGE_BYTES, 1 << 20, &err)) abort();
    key = ng_prefix_key_first(&dir, 0);
    for (int i = 0; i < N_IDS / 64; i++) (void)ng_prefix_key_next(&key, ids, N_IDS);
    if (ng_prefix_file_write(&dir, &key, page, &fresh, &err) || ng_dir_read(&l, folder, &err) || l.len != 1) abort();
    snprintf(path, sizeof path, "%s/%s", folder, l.names[0]);
    ng_dir_list_clear(&l);
    if (ng_map_open(&m, path, &err) || m.len != FILE_BYTES) abort();
    memcpy(good, m.data, FILE_BYTES);
    ng_map_close(&m);
    ng_prefix_dir_close(&dir);
    if (ng_prefix_dir_open(&dir, folder, ng_digest_of("id", 2), PAGE_BYTES, 1 << 20, &err) || dir.names.len != 1)
        abort();
    atexit(clean);
}

static void mend(uint8_t *file, size_t len, uint8_t what) {
    if (what & 1 && len >= DIGEST_AT) memcpy(file, good, DIGEST_AT);
    if (what & 4 && len >= HEAD_BYTES + IDS_BYTES) memcpy(file + HEAD_BYTES, good + HEAD_BYTES, IDS_BYTES);
    if (what & 2 && len >= FILE_BYTES) {
        ng_digest d = ng_digest_of(file + HEAD_BYTES + IDS_BYTES, PAGE_BYTES);
        memcpy(file + DIGEST_AT, d.h, sizeof d.h);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (!size || size > 1 << 16) return 0;
    if (!path[0]) start();
    ng_error err = {0};
    size_t len = size - 1;
    uint8_t *file = malloc(len + 1), *page = malloc(PAGE_BYTES); /* exactly as long, so that a write past the end is seen */
    if (!file || !page) abort();
    memcpy(file, data + 1, len);
    mend(file, len, data[0]);
    FILE *f = fopen(path, "wb");
    if (!f || fwrite(file, 1, len, f) != len || fclose(f)) abort();
    ng_status s;
    if (data[0] & 8) {
        size_t same = ng_prefix_file_near(&dir, &key, page, &err);
        if (same > 64 || (same && err.code)) abort();
        if (same && memcmp(page, file + len - PAGE_BYTES, PAGE_BYTES)) abort();
        s = NG_ENOTFOUND;
        if (!err.code) goto done; /* accepted, or whole and without a common id */
    } else s = ng_prefix_file_read(&dir, &key, page, &err);
    if (s && (!err.text[0] || ng_file_exists(path))) abort();
    if (!s && (len != FILE_BYTES || memcmp(page, file + HEAD_BYTES + IDS_BYTES, PAGE_BYTES) ||
               memcmp(file + HEAD_BYTES, ids, IDS_BYTES)))
        abort();
done:
    free(file);
    free(page);
    return 0;
}
