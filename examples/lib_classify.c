/* lib_classify.c: the grid inside a program, with no server and no network library.
 *
 *     cc lib_classify.c -lnanogrid -ljansson -lyaml -lsqlite3 -lutf8proc -lpthread -lm
 *     ./lib_classify "please freeze my account"
 *
 * It is linked with libnanogrid alone (see CMakeLists.txt), which keeps that promise checked. */
#include <nanogrid/grid.h>

#include <math.h>
#include <stdio.h>
#include <string.h>

static int fail(const ng_error *err) {
    fprintf(stderr, "lib_classify: %s\n", err->text);
    return ng_status_exit_code(err->code);
}

int main(int argc, char **argv) {
    ng_error err = {0};
    ng_grid *grid;
    ng_answer *answer;
    ng_request request;
    ng_grid_options options = {.no_records = true};
    if (argc != 2) {
        fprintf(stderr, "usage: lib_classify TEXT\n");
        return 2;
    }
    if (ng_grid_open(&grid, &options, &err)) return fail(&err);
    ng_request_init(&request, NG_TASK_CLASSIFY);
    ng_request_set_text(&request, argv[1], strlen(argv[1]));
    ng_status s = ng_grid_ask(grid, &request, &answer, &err);
    if (!s) {
        printf("%s (%s", answer->label ? answer->label : "(abstained)", answer->expert ? answer->expert : "nobody");
        if (!isnan(answer->confidence)) printf(", %.1f %% sure", 100 * answer->confidence);
        puts(")");
        ng_answer_free(answer);
    }
    ng_grid_close(grid);
    return s ? fail(&err) : 0;
}
