/* load: opens event streams, publishes, and counts what arrives. It is told what to do line by line on standard input,
 * and answers each line with one line of JSON, so that whoever measures the server can look at it in between.
 *
 *   open FILE COUNT SLOW [CODING [BURST]]   Opens COUNT streams, BURST at a time; line i of FILE is "PATH TOKEN". The
 *                                   first SLOW are never read. CODING: gzip, or anything else for none.
 *   publish HEAD ITEM key=value...  Publishes and waits for what must arrive. HEAD is a file with the request's head
 *                                   up to Content-Length, ITEM one with a message: $M becomes a marker padded to
 *                                   size=, $I the index of the target, of which there are targets= (0: all streams);
 *                                   each= streams get a message. messages= window= (as fast as it goes) or rate=
 *                                   seconds=; batch= in one request. Of compressed streams, chunks are counted.
 *   request FILE CONNECTIONS SECONDS   Sends the request in FILE again and again, one at a time on each connection.
 *   receive MESSAGES SECONDS        Waits until every stream has had so many since it opened or was last asked, but no
 *                                   longer than that; somebody else publishes them. With 0 it waits the whole time.
 *   port PORT                       Connects to another port from now on; open streams stay.
 *   close                           Closes the streams.
 *
 * Usage: load PORT
 */
#include "load.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <time.h>

#define BURST 128 /* connections in the making */

int port, epoll;

void die(const char *what) {
    fprintf(stderr, "load: %s: %s\n", what, strerror(errno));
    exit(2);
}

uint64_t now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * 1000000000ull + t.tv_nsec;
}

static char *slurp(const char *name) {
    FILE *file = fopen(name, "r");
    if (!file)
        die(name);
    char *text = NULL;
    size_t capacity = 0;
    if (getdelim(&text, &capacity, 0, file) < 0)
        die(name);
    fclose(file);
    return text;
}

static void publish(char *words) {
    struct plan p = {.window = 16, .batch = 1, .size = 128};
    p.head = slurp(strtok(words, " "));
    p.item = slurp(strtok(NULL, " "));
    for (char *word; (word = strtok(NULL, " "));) {
        char *value = strchr(word, '=');
        if (!value)
            die(word);
        *value++ = 0;
        struct { const char *name; long *number; } numbers[] = {
            {"messages", &p.messages}, {"window", &p.window}, {"batch", &p.batch}, {"size", &p.size}, {"targets", &p.targets}, {"each", &p.each}};
        for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++)
            if (!strcmp(word, numbers[i].name))
                *numbers[i].number = atol(value);
        if (!strcmp(word, "rate"))
            p.rate = atof(value);
        if (!strcmp(word, "seconds"))
            p.seconds = atof(value);
    }
    if (p.window < p.batch)
        p.window = p.batch;
    run_plan(&p);
    free(p.head);
    free(p.item);
}

static void repeat(const char *name, int count, double seconds) {
    char *request = slurp(name);
    repeat_request(request, count, seconds);
    free(request);
}

static void obey(char *line) {
    char name[1024], word[16] = "";
    int count, slow, burst = BURST;
    double seconds;
    line[strcspn(line, "\n")] = 0;
    if (sscanf(line, "open %1023s %d %d %15s %d", name, &count, &slow, word, &burst) >= 3)
        open_streams(name, count, slow, !strcmp(word, "gzip"), burst);
    else if (!strncmp(line, "publish ", 8))
        publish(line + 8);
    else if (sscanf(line, "request %1023s %d %lf", name, &count, &seconds) == 3)
        repeat(name, count, seconds);
    else if (sscanf(line, "receive %d %lf", &count, &seconds) == 2)
        receive(count, seconds);
    else if (sscanf(line, "port %d", &port) == 1)
        printf("{}\n");
    else if (!strcmp(line, "close"))
        close_streams();
    else {
        errno = EINVAL;
        die(line);
    }
    fflush(stdout);
}

int main(int argc, char **argv) {
    struct rlimit files;
    getrlimit(RLIMIT_NOFILE, &files);
    files.rlim_cur = files.rlim_max;
    setrlimit(RLIMIT_NOFILE, &files);
    port = argc > 1 ? atoi(argv[1]) : 0;
    epoll = epoll_create1(0);
    char *line = NULL;
    size_t room = 0;
    while (getline(&line, &room, stdin) > 0)
        obey(line);
    free(line);
    return 0;
}
