/* verb_worker.c: `nanogrid worker`: the process in which `serve` runs one model. */
#include "cli.h"
#include "cli_model.h"

#include <nanogrid/tools/worker.h>

#include <string.h>

static struct {
    const char *model, *task, *head, *adapter, *lease, *kv, *prefix_dir;
    long threads, context, memory, prefix_memory, prefix_disk;
    double scale;
} o = {.scale = 1};

static const cli_option options[] =
    {{"model", 'm', CLI_STR, &o.model, "FILE", "the model", NULL},
     {"task", 0, CLI_STR, &o.task, "TASK", "the task that it is loaded for", NULL},
     {"head", 0, CLI_STR, &o.head, "NAME", "the head, of a file that has several", NULL},
     {"adapter", 0, CLI_STR, &o.adapter, "FILE", "a LoRA adapter beside an encoder's weights (none)", NULL},
     {"scale", 0, CLI_NUM, &o.scale, "X", "times the adapter (1)", NULL},
     {"threads", 't', CLI_INT, &o.threads, "N", "threads the model uses (by measurement)", NULL},
     CLI_KV_OPTION(&o.kv),
     {"context", 'c', CLI_INT, &o.context, "N", "most tokens of one text (the model's)", NULL},
     {"memory", 0, CLI_INT, &o.memory, "BYTES", "the most memory it may take for itself (no limit)", NULL},
     {"prefix-memory", 0, CLI_INT, &o.prefix_memory, "BYTES", "for how earlier texts began, beside two contexts (0)",
      NULL},
     {"prefix-cache", 0, CLI_STR, &o.prefix_dir, "DIR", "a folder for files of the same (none)", NULL},
     {"prefix-disk", 0, CLI_INT, &o.prefix_disk, "BYTES", "of these files at most (1 GiB)", NULL},
     {"lease", 0, CLI_STR, &o.lease, "FILE", "a file whose lock gives the cores to one step of one worker at a time",
      NULL},
     {0}};

static int run(int argc, char **argv) {
    (void)argv;
    ng_error err = {0};
    ng_worker_options w = {.lease = o.lease};
    if (argc || !o.model || !o.task) return cli_usage("worker needs --model and --task, and takes no words");
    if (o.threads < 0 || o.threads > 1024 || o.memory < 0 || o.prefix_memory < 0 || o.prefix_disk < 0)
        return cli_usage("--threads and numbers of bytes must not be negative");
    if (o.context < 0 || o.context > 1 << 20)
        return cli_usage("--context: %ld is out of range, use 1 to 1048576", o.context);
    if (!ng_task_parse(&w.spec.task, o.task)) return cli_usage("'%s' is no task", o.task);
    if (cli_kv_read(&w.spec.kv, o.kv, &err)) return cli_fail(&err);
    w.spec.path = o.model;
    w.spec.head = o.head;
    w.spec.adapter = o.adapter;
    w.spec.adapter_scale = o.scale;
    w.spec.n_threads = (int)o.threads;
    w.spec.n_ctx = (uint32_t)o.context;
    w.spec.memory_max = (uint64_t)o.memory;
    w.spec.prefix = (ng_prefix_options){.memory_max = (uint64_t)o.prefix_memory,
                                        .dir = o.prefix_dir,
                                        .disk_max = (uint64_t)o.prefix_disk};
    return ng_worker_run(&w, &err) ? cli_fail(&err) : 0;
}

const cli_verb cli_verb_worker = {"worker",
                                  "--model FILE --task TASK",
                                  "one model in a process of its own; `serve` starts these",
                                  "Serves one model over the socket that is its descriptor 3, for the\n"
                                  "process that started it, and ends with it.  `nanogrid serve` starts\n"
                                  "one for every decoder and encoder (`workers` in grid.yaml).",
                                  options,
                                  run};
