/* package_card.c: a model card for people and for programs.  See nanogrid/package.h.
 *
 * Cards are written by `eval` and are shallow; what stands in them is told in their own words, one
 * `path: value` a line, so a new figure in a card needs no code here. */
#include <nanogrid/package.h>

#include "core/file.h"
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { DEPTH_MAX = 8 };

static void put_value(ng_buf *b, const char *path, const json_t *v, int depth);

static void put_children(ng_buf *b, const char *path, const json_t *v, int depth) {
    char child[256];
    const char *key;
    json_t *item;
    size_t i;
    if (json_is_object(v)) {
        json_object_foreach((json_t *)v, key, item) {
            snprintf(child, sizeof child, "%s%s%.80s", path, *path ? "." : "", key);
            put_value(b, child, item, depth + 1);
        }
        return;
    }
    json_array_foreach(v, i, item) {
        snprintf(child, sizeof child, "%s[%zu]", path, i);
        put_value(b, child, item, depth + 1);
    }
}

static void put_value(ng_buf *b, const char *path, const json_t *v, int depth) {
    bool list_of_objects = json_is_array(v) && json_is_object(json_array_get(v, 0));
    if (depth < DEPTH_MAX && (json_is_object(v) || list_of_objects)) {
        put_children(b, path, v, depth);
        return;
    }
    char *text = json_is_string(v) ? NULL : json_dumps(v, JSON_ENCODE_ANY | JSON_COMPACT | JSON_REAL_PRECISION(6));
    ng_buf_printf(b, "%s%-28s %s", b->len ? "\n" : "", path, text ? text : json_is_string(v) ? json_string_value(v) : "");
    free(text);
}

static ng_status put_card(ng_buf *out, const char *ref, const char *text, size_t len, bool json, ng_error *err) {
    json_error_t e;
    json_t *card = json_loadb(text, len, JSON_REJECT_DUPLICATES, &e);
    if (!card) return ng_fail(err, NG_EFORMAT, "the card of '%.80s' is damaged: line %d: %s", ref, e.line, e.text);
    char *line = json ? json_dumps(card, JSON_REAL_PRECISION(15)) : NULL;
    if (json) ng_buf_puts(out, line ? line : "");
    else put_value(out, "", card, 0);
    free(line);
    json_decref(card);
    if (json && !line) return ng_fail(err, NG_ENOMEM, "card: out of memory");
    return out->status ? ng_fail(err, out->status, "card: %s", ng_status_text(out->status)) : NG_OK;
}

ng_status ng_package_card(ng_buf *out, const char *ref, bool json, ng_error *err) {
    char dir[4096], path[4096 + 16];
    ng_status s = ng_package_find(dir, sizeof dir, ref, err);
    if (s) return s;
    snprintf(path, sizeof path, "%s/card.json", dir);
    ng_buf text = ng_buf_init(1u << 20);
    s = ng_file_read(&text, path, err);
    if (!s) s = put_card(out, ref, text.data, text.len, json, err);
    ng_buf_clear(&text);
    return s;
}
