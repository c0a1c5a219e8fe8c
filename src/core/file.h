/* file.h: whole files in, whole files out, never half a file.
 *
 *     ng_map m;
 *     if (ng_map_open(&m, path, &err)) return err.code;     m.data, m.len: read-only, mmapped
 *     ng_map_close(&m);
 *     ng_file_write_atomic("grid.yaml", text, len, &err);   temp file, fsync, rename, fsync(dir)
 *
 * Paths are UTF-8 and come from the user; messages name them.  All calls are thread-safe. */
#ifndef NG_CORE_FILE_H
#define NG_CORE_FILE_H

#include <nanogrid/buf.h>
#include <stdio.h>

typedef struct ng_map {
    const uint8_t *data;
    size_t len;
} ng_map;

/* An empty file maps to len 0.  A directory, a missing or an unreadable file is NG_ENOTFOUND or
 * NG_EIO with the path and the reason. */
ng_status ng_map_open(ng_map *out, const char *path, ng_error *err) NG_MUST_USE;
void ng_map_close(ng_map *m); /* accepts a zeroed map */

/* Lets go of the resident pages that lie wholly in [off, off + len): read again from the file when they
 * are touched. */
void ng_map_forget(const ng_map *m, size_t off, size_t len);
/* A wish: the pages in as large units as the system can, which saves address look-ups. */
void ng_map_wish_huge(const ng_map *m);

/* Appends the file's bytes to `out`, at most out->max. */
ng_status ng_file_read(ng_buf *out, const char *path, ng_error *err) NG_MUST_USE;
/* The rest of a stream, such as standard input. */
ng_status ng_stream_read(ng_buf *out, FILE *f, const char *name, ng_error *err) NG_MUST_USE;
/* Writes PATH.tmp.PID, fsyncs, renames over PATH, fsyncs the folder: readers see the old or the new
 * bytes, never a mixture, and a failure leaves the old file as it was. */
ng_status ng_file_write_atomic(const char *path, const void *data, size_t len,
                               ng_error *err) NG_MUST_USE;

/* A file written piece by piece with the same guarantee. */
typedef struct ng_writer ng_writer;
ng_status ng_writer_open(ng_writer **out, const char *path, ng_error *err) NG_MUST_USE;
/* The same, but the file may be read by its owner alone. */
ng_status ng_writer_open_private(ng_writer **out, const char *path, ng_error *err) NG_MUST_USE;
ng_status ng_writer_put(ng_writer *w, const void *data, size_t len, ng_error *err) NG_MUST_USE;
/* fsync + rename; the writer is freed either way. */
ng_status ng_writer_commit(ng_writer *w, ng_error *err) NG_MUST_USE;
/* Drops what was written; NULL is fine. */
void ng_writer_abort(ng_writer *w);

/* A regular file read piece by piece into memory of the caller's, for files that others may cut while they are
 * read (a mapping of such a file is a trap). */
typedef struct ng_reader {
    int fd;
    uint64_t len; /* of the file when it was opened */
} ng_reader;
ng_status ng_reader_open(ng_reader *out, const char *path, ng_error *err) NG_MUST_USE;
/* The next n bytes; NG_EFORMAT when the file ends before. */
ng_status ng_reader_get(ng_reader *r, void *out, size_t n, ng_error *err) NG_MUST_USE;
void ng_reader_close(ng_reader *r);

bool ng_file_exists(const char *path); /* a regular file that can be read */
/* Bytes and the time of the last change in seconds; false when there is no such regular file. */
bool ng_file_stat(const char *path, uint64_t *bytes, int64_t *changed_s);
/* Both are best effort: a file that is not there, or may not be changed, is left at that. */
void ng_file_remove(const char *path);
void ng_file_touch(const char *path); /* its time of change becomes now */
/* The whole path of something that exists, without links, into out[cap]. */
ng_status ng_path_absolute(char *out, size_t cap, const char *path, ng_error *err) NG_MUST_USE;
bool ng_dir_exists(const char *path);
/* mkdir -p; an existing folder is fine. */
ng_status ng_dir_make(const char *path, ng_error *err) NG_MUST_USE;
/* The same, but a folder that is made may be entered by its owner alone. */
ng_status ng_dir_make_private(const char *path, ng_error *err) NG_MUST_USE;
/* The folder with all that is in it, best effort; links are removed, not followed. */
void ng_dir_remove(const char *path);
/* The folder of this executable, without a final slash ("/usr/bin"), into out[cap]. */
ng_status ng_exe_dir(char *out, size_t cap, ng_error *err) NG_MUST_USE;
/* $NANOGRID_HOME, else $XDG_DATA_HOME/nanogrid, else ~/.local/share/nanogrid.  Not created. */
ng_status ng_home_dir(char *out, size_t cap, ng_error *err) NG_MUST_USE;

/* Names in a folder, sorted bytewise, "." and ".." left out; each ends with free(). */
typedef struct ng_dir_list {
    char **names;
    size_t len;
} ng_dir_list;
ng_status ng_dir_read(ng_dir_list *out, const char *path, ng_error *err) NG_MUST_USE;
void ng_dir_list_clear(ng_dir_list *l);

#endif
