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
    char *text = json_is_string(v)
                     ? NULL
                     : json_dumps(v, JSON_ENCODE_ANY | JSON_COMPACT | JSON_REAL_PRECISION(6));
    ng_buf_printf(b, "%s%-28s %s", b->len ? "\n" : "", path,
                  text                ? text
                  : json_is_string(v) ? json_string_value(v)
                                      : "");
    free(text);
}

static ng_status load_card(json_t **out, const char *path, ng_error *err) {
    json_error_t e;
    ng_buf text = ng_buf_init(1u << 20);
    *out = NULL;
    ng_status s = ng_file_read(&text, path, err);
    if (!s && !(*out = json_loadb(text.data, text.len, JSON_REJECT_DUPLICATES, &e)))
        s = ng_fail(err, NG_EFORMAT, "%.300s is damaged: line %d: %s", path, e.line, e.text);
    ng_buf_clear(&text);
    return s;
}

/* {"task": card, "expert": card} of a folder with task.card.json and expert.card.json. */
static ng_status load_cards(json_t **out, const char *dir, ng_error *err) {
    static const char suffix[] = ".card.json";
    ng_dir_list l;
    ng_status s = ng_dir_read(&l, dir, err);
    if (s) return s;
    *out = json_object();
    for (size_t i = 0; !s && i < l.len; i++) {
        char path[4096 + 300], key[256];
        size_t len = strlen(l.names[i]), n = sizeof suffix - 1;
        json_t *card;
        if (len <= n || len >= sizeof key || strcmp(l.names[i] + len - n, suffix) != 0) continue;
        snprintf(path, sizeof path, "%s/%s", dir, l.names[i]);
        snprintf(key, sizeof key, "%.*s", (int)(len - n), l.names[i]);
        s = load_card(&card, path, err);
        if (!s && json_object_set_new(*out, key, card))
            s = ng_fail(err, NG_ENOMEM, "card: out of memory");
    }
    ng_dir_list_clear(&l);
    if (!s && !json_object_size(*out)) s = ng_fail(err, NG_ENOTFOUND, "%.300s has no card", dir);
    return s;
}

static ng_status put_card(ng_buf *out, const json_t *card, bool json, ng_error *err) {
    char *line = json ? json_dumps(card, JSON_REAL_PRECISION(15)) : NULL;
    if (json) ng_buf_puts(out, line ? line : "");
    else put_value(out, "", card, 0);
    free(line);
    if (json && !line) return ng_fail(err, NG_ENOMEM, "card: out of memory");
    return out->status ? ng_fail(err, out->status, "card: %s", ng_status_text(out->status)) : NG_OK;
}

ng_status ng_package_card(ng_buf *out, const char *ref, bool json, ng_error *err) {
    char dir[4096], path[4096 + 16];
    json_t *card = NULL;
    ng_status s = ng_package_find(dir, sizeof dir, ref, err);
    if (s) return s;
    snprintf(path, sizeof path, "%s/card.json", dir);
    s = ng_file_exists(path) ? load_card(&card, path, err) : load_cards(&card, dir, err);
    if (!s) s = put_card(out, card, json, err);
    json_decref(card);
    return s;
}
