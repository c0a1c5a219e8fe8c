/* os_file.c: files on POSIX.  See file.h.  One of the few places that speak to the system. */
#include "file.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <libgen.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

static ng_status fail_errno(ng_error *err, const char *doing, const char *path) {
    int e = errno;
    ng_status code = e == ENOENT || e == ENOTDIR ? NG_ENOTFOUND : e == ENOMEM ? NG_ENOMEM : NG_EIO;
    return ng_fail(err, code, "%s %s: %s", doing, path, strerror(e));
}

ng_status ng_map_open(ng_map *out, const char *path, ng_error *err) {
    *out = (ng_map){0};
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) return fail_errno(err, "cannot open", path);
    struct stat st;
    ng_status s = NG_OK;
    if (fstat(fd, &st)) {
        s = fail_errno(err, "cannot stat", path);
    } else if (!S_ISREG(st.st_mode)) {
        s = ng_fail(err, NG_EIO, "cannot open %s: not a regular file", path);
    } else if (st.st_size > 0) {
        void *p = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_SHARED, fd, 0);
        if (p == MAP_FAILED) s = fail_errno(err, "cannot map", path);
        else *out = (ng_map){p, (size_t)st.st_size};
    }
    close(fd);
    return s;
}

void ng_map_close(ng_map *m) {
    if (m->len) munmap((void *)(uintptr_t)m->data, m->len);
    *m = (ng_map){0};
}

void ng_map_forget(const ng_map *m, size_t off, size_t len) {
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    size_t begin = (off + page - 1) / page * page, end = off + len >= m->len ? m->len : (off + len) / page * page;
    if (begin < end) (void)madvise((void *)(uintptr_t)(m->data + begin), end - begin, MADV_DONTNEED);
}

void ng_map_wish_huge(const ng_map *m) {
    if (m->len) (void)madvise((void *)(uintptr_t)m->data, m->len, MADV_HUGEPAGE);
}

ng_status ng_stream_read(ng_buf *out, FILE *f, const char *name, ng_error *err) {
    for (;;) {
        size_t want = out->max - out->len < 65536 ? out->max - out->len : 65536;
        if (want == 0) {
            if (fgetc(f) == EOF) return NG_OK;
            return ng_fail(err, NG_ELIMIT, "%s is larger than the limit of %zu bytes", name, out->max);
        }
        if (ng_buf_reserve(out, want))
            return ng_fail(err, out->status, "reading %s: %s", name, ng_status_text(out->status));
        size_t n = fread(out->data + out->len, 1, want, f);
        out->len += n;
        out->data[out->len] = 0;
        if (n < want) {
            if (ferror(f)) return fail_errno(err, "cannot read", name);
            return NG_OK;
        }
    }
}

ng_status ng_file_read(ng_buf *out, const char *path, ng_error *err) {
    FILE *f = fopen(path, "rbe");
    if (!f) return fail_errno(err, "cannot open", path);
    struct stat st;
    ng_status s = !fstat(fileno(f), &st) && S_ISDIR(st.st_mode)
                      ? ng_fail(err, NG_EIO, "cannot read %s: it is a folder", path)
                      : ng_stream_read(out, f, path, err);
    fclose(f);
    return s;
}

struct ng_writer {
    int fd;
    char path[PATH_MAX], temp[PATH_MAX];
};

static ng_status open_writer(ng_writer **out, const char *path, mode_t mode, ng_error *err) {
    *out = NULL;
    ng_writer *w = calloc(1, sizeof *w);
    if (!w) return ng_fail(err, NG_ENOMEM, "writing %s: out of memory", path);
    size_t len = strlen(path);
    if (len + 32 > sizeof w->temp) {
        free(w);
        return ng_fail(err, NG_EINVALID, "the path %.60s.. is too long", path);
    }
    memcpy(w->path, path, len + 1);
    snprintf(w->temp, sizeof w->temp, "%.*s.tmp.%d", (int)len, path, (int)getpid());
    w->fd = open(w->temp, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, mode);
    if (w->fd < 0) {
        ng_status s = fail_errno(err, "cannot create", w->temp);
        free(w);
        return s;
    }
    *out = w;
    return NG_OK;
}

ng_status ng_writer_open(ng_writer **out, const char *path, ng_error *err) { return open_writer(out, path, 0644, err); }
ng_status ng_writer_open_private(ng_writer **out, const char *path, ng_error *err) {
    return open_writer(out, path, 0600, err);
}

ng_status ng_writer_put(ng_writer *w, const void *data, size_t len, ng_error *err) {
    const char *p = data;
    while (len) {
        ssize_t n = write(w->fd, p, len < 1u << 30 ? len : 1u << 30);
        if (n < 0 && errno == EINTR) continue;
        if (n <= 0) return fail_errno(err, "cannot write", w->temp);
        p += n;
        len -= (size_t)n;
    }
    return NG_OK;
}

void ng_writer_abort(ng_writer *w) {
    if (!w) return;
    if (w->fd >= 0) close(w->fd);
    unlink(w->temp);
    free(w);
}

static ng_status sync_folder(const char *path, ng_error *err) {
    char copy[PATH_MAX];
    snprintf(copy, sizeof copy, "%s", path);
    const char *folder = dirname(copy);
    int fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0) return fail_errno(err, "cannot open", folder);
    int bad = fsync(fd) && errno != EINVAL; /* some file systems cannot sync a folder */
    ng_status s = bad ? fail_errno(err, "cannot sync", folder) : NG_OK;
    close(fd);
    return s;
}

ng_status ng_writer_commit(ng_writer *w, ng_error *err) {
    ng_status s = NG_OK;
    if (fsync(w->fd)) s = fail_errno(err, "cannot sync", w->temp);
    if (close(w->fd) && !s) s = fail_errno(err, "cannot close", w->temp);
    w->fd = -1;
    if (!s && rename(w->temp, w->path)) s = fail_errno(err, "cannot rename to", w->path);
    if (!s) s = sync_folder(w->path, err);
    ng_writer_abort(w); /* after the rename there is no temp file left to unlink */
    return s;
}

ng_status ng_file_write_atomic(const char *path, const void *data, size_t len, ng_error *err) {
    ng_writer *w;
    ng_status s = ng_writer_open(&w, path, err);
    if (s) return s;
    s = ng_writer_put(w, data, len, err);
    if (s) {
        ng_writer_abort(w);
        return s;
    }
    return ng_writer_commit(w, err);
}

ng_status ng_reader_open(ng_reader *out, const char *path, ng_error *err) {
    struct stat st;
    *out = (ng_reader){open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK), 0}; /* a pipe put there must not stop us */
    if (out->fd < 0) return fail_errno(err, "cannot open", path);
    if (!fstat(out->fd, &st) && S_ISREG(st.st_mode)) {
        out->len = (uint64_t)st.st_size;
        return NG_OK;
    }
    ng_reader_close(out);
    return ng_fail(err, NG_EIO, "cannot open %s: not a regular file", path);
}

ng_status ng_reader_get(ng_reader *r, void *out, size_t n, ng_error *err) {
    char *p = out;
    while (n) {
        ssize_t got = read(r->fd, p, n < 1u << 30 ? n : 1u << 30);
        if (got < 0 && errno == EINTR) continue;
        if (got < 0) return ng_fail(err, NG_EIO, "cannot read: %s", strerror(errno));
        if (got == 0) return ng_fail(err, NG_EFORMAT, "it is cut short");
        p += got;
        n -= (size_t)got;
    }
    return NG_OK;
}

void ng_reader_close(ng_reader *r) {
    if (r->fd >= 0) close(r->fd);
    r->fd = -1;
}

bool ng_file_exists(const char *path) {
    struct stat st;
    return !stat(path, &st) && S_ISREG(st.st_mode) && !access(path, R_OK);
}

bool ng_file_stat(const char *path, uint64_t *bytes, int64_t *changed_s) {
    struct stat st;
    if (stat(path, &st) || !S_ISREG(st.st_mode)) return false;
    *bytes = (uint64_t)st.st_size;
    *changed_s = (int64_t)st.st_mtime;
    return true;
}

void ng_file_remove(const char *path) { (void)unlink(path); }

void ng_file_touch(const char *path) { (void)utimensat(AT_FDCWD, path, NULL, 0); }

ng_status ng_path_absolute(char *out, size_t cap, const char *path, ng_error *err) {
    char *whole = realpath(path, NULL);
    *out = 0;
    if (!whole) return ng_fail(err, errno == ENOENT ? NG_ENOTFOUND : NG_EIO, "%s: %s", path, strerror(errno));
    int n = snprintf(out, cap, "%s", whole);
    free(whole);
    return n >= 0 && (size_t)n < cap ? NG_OK : ng_fail(err, NG_EINVALID, "%s: the path is too long", path);
}

bool ng_dir_exists(const char *path) {
    struct stat st;
    return !stat(path, &st) && S_ISDIR(st.st_mode);
}

static ng_status make_folders(const char *path, mode_t mode_of_last, ng_error *err) {
    char part[PATH_MAX];
    size_t len = strlen(path);
    if (len == 0 || len >= sizeof part) return ng_fail(err, NG_EINVALID, "bad folder name");
    for (size_t i = 1; i <= len; i++) {
        if (path[i] != '/' && path[i] != 0) continue;
        memcpy(part, path, i);
        part[i] = 0;
        if (mkdir(part, i == len ? mode_of_last : 0755) && errno != EEXIST)
            return fail_errno(err, "cannot create", part);
    }
    return ng_dir_exists(path) ? NG_OK : ng_fail(err, NG_EIO, "%s is not a folder", path);
}

ng_status ng_dir_make(const char *path, ng_error *err) { return make_folders(path, 0755, err); }
ng_status ng_dir_make_private(const char *path, ng_error *err) { return make_folders(path, 0700, err); }

static int remove_entry(const char *path, const struct stat *st, int kind, struct FTW *at) {
    (void)st, (void)kind, (void)at;
    (void)remove(path);
    return 0;
}

void ng_dir_remove(const char *path) { (void)nftw(path, remove_entry, 16, FTW_DEPTH | FTW_PHYS); }

ng_status ng_exe_dir(char *out, size_t cap, ng_error *err) {
    char path[PATH_MAX];
    ssize_t n = readlink("/proc/self/exe", path, sizeof path - 1);
    if (n <= 0) return fail_errno(err, "cannot resolve", "/proc/self/exe");
    path[n] = 0;
    int len = snprintf(out, cap, "%s", dirname(path));
    return len > 0 && (size_t)len < cap ? NG_OK : ng_fail(err, NG_ELIMIT, "the path of the executable is too long");
}

ng_status ng_home_dir(char *out, size_t cap, ng_error *err) {
    const char *home = getenv("NANOGRID_HOME"), *xdg = getenv("XDG_DATA_HOME"), *user = getenv("HOME");
    int n = home && *home ? snprintf(out, cap, "%s", home)
            : xdg && *xdg ? snprintf(out, cap, "%s/nanogrid", xdg)
                          : snprintf(out, cap, "%s/.local/share/nanogrid", user && *user ? user : "/tmp");
    return n > 0 && (size_t)n < cap ? NG_OK : ng_fail(err, NG_ELIMIT, "the path in NANOGRID_HOME is too long");
}

static int by_name(const void *a, const void *b) {
    return strcmp(*(char *const *)a, *(char *const *)b);
}

ng_status ng_dir_read(ng_dir_list *out, const char *path, ng_error *err) {
    *out = (ng_dir_list){0};
    DIR *d = opendir(path);
    if (!d) return fail_errno(err, "cannot read the folder", path);
    size_t cap = 0;
    ng_status s = NG_OK;
    for (struct dirent *e; !s && (e = readdir(d));) {
        if (!strcmp(e->d_name, ".") || !strcmp(e->d_name, "..")) continue;
        if (out->len == cap) {
            size_t grown = cap ? cap * 2 : 16;
            char **names = realloc(out->names, grown * sizeof *names);
            if (!names) {
                s = ng_fail(err, NG_ENOMEM, "reading the folder %s: out of memory", path);
                break;
            }
            out->names = names;
            cap = grown;
        }
        char *name = strdup(e->d_name);
        if (!name) s = ng_fail(err, NG_ENOMEM, "reading the folder %s: out of memory", path);
        else out->names[out->len++] = name;
    }
    closedir(d);
    if (s) ng_dir_list_clear(out);
    else if (out->len) qsort(out->names, out->len, sizeof *out->names, by_name);
    return s;
}

void ng_dir_list_clear(ng_dir_list *l) {
    for (size_t i = 0; i < l->len; i++) free(l->names[i]);
    free(l->names);
    *l = (ng_dir_list){0};
}
