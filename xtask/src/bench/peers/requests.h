/* What the peers share: request heads read from a file, and CPU time. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

struct header { char *name, *value; };
struct request {
    char *method, *target;
    struct header headers[32];
    int count;
};

static double now(void) {
    struct timespec time;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &time);
    return time.tv_sec * 1e9 + time.tv_nsec;
}

static char *whole(const char *path) {
    FILE *file = fopen(path, "rb");
    if (!file) { perror(path); exit(1); }
    fseek(file, 0, SEEK_END);
    long size = ftell(file);
    rewind(file);
    char *text = malloc(size + 1);
    if (fread(text, 1, size, file) != (size_t)size) { perror(path); exit(1); }
    text[size] = 0;
    fclose(file);
    return text;
}

/* Heads with LF line ends, an empty line behind each. */
static struct request *heads(const char *path, int *count) {
    char *text = whole(path);
    int room = 1024;
    struct request *all = malloc(room * sizeof *all);
    *count = 0;
    while (*text) {
        if (*count == room) all = realloc(all, (room *= 2) * sizeof *all);
        struct request *one = &all[(*count)++];
        memset(one, 0, sizeof *one);
        char *line = strsep(&text, "\n");
        one->method = strsep(&line, " ");
        one->target = strsep(&line, " ");
        while ((line = strsep(&text, "\n")) && *line && one->count < 32) {
            struct header *header = &one->headers[one->count++];
            header->name = strsep(&line, ":");
            header->value = line + 1;
        }
        if (!text) break;
    }
    return all;
}

static const char *value(const struct request *request, const char *name) {
    for (int at = 0; at < request->count; at++)
        if (!strcasecmp(request->headers[at].name, name)) return request->headers[at].value;
    return "";
}
