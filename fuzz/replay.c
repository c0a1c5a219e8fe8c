/* replay.c: runs every file of the folders and files named on the command line through the fuzz
 * target's entry point, so that the corpus is a regression test without a fuzzer. */
#include <dirent.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int replay_file(const char *path, long bytes) {
    FILE *f = fopen(path, "rb");
    uint8_t *data = malloc(bytes ? (size_t)bytes : 1);
    if (!f || !data) {
        fprintf(stderr, "replay: %s cannot be read\n", path);
        return 1;
    }
    size_t len = fread(data, 1, (size_t)bytes, f);
    fclose(f);
    LLVMFuzzerTestOneInput(data, len);
    free(data);
    return 0;
}

static int replay_path(const char *path, int *n_files) {
    struct stat st;
    if (stat(path, &st)) {
        fprintf(stderr, "replay: %s is missing\n", path);
        return 1;
    }
    if (!S_ISDIR(st.st_mode)) {
        ++*n_files;
        return replay_file(path, (long)st.st_size);
    }
    DIR *d = opendir(path);
    int bad = d == NULL;
    for (struct dirent *e; d && (e = readdir(d));) {
        char child[4096];
        if (e->d_name[0] == '.') continue;
        snprintf(child, sizeof child, "%s/%s", path, e->d_name);
        bad |= replay_path(child, n_files);
    }
    if (d) closedir(d);
    return bad;
}

int main(int argc, char **argv) {
    int n_files = 0, bad = 0;
    for (int i = 1; i < argc; i++) bad |= replay_path(argv[i], &n_files);
    printf("replayed %d files\n", n_files);
    return bad || n_files == 0;
}
