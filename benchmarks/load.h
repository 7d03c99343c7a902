/* What the parts of the load generator share: load.c reads commands, streams.c receives, publish.c sends. */
#ifndef LOAD_H
#define LOAD_H

#define _GNU_SOURCE
#include <stdint.h>

#define MARK 26 /* bytes of a marker: ~ 16 hex digits of monotonic nanoseconds, 8 of the number, and ~ */

/* load.c */

extern int port, epoll;

void die(const char *what);
uint64_t now(void);

/* streams.c */

/* Since begin_count(): of compressed streams, which carry no marker to be read, arrivals are chunks. */
struct seen {
    uint64_t arrivals, bytes, reordered, last_arrival;
};

extern struct seen seen;
extern int stream_count, opened, ended, never_read; /* never_read: how many of the opened */

void watch(int fd, uint32_t events, int index, int is_new); /* index: a stream's, or above them */
int dial(int index, int slow);
void open_streams(const char *name, int count, int slow, int gzip, int burst);
void receive(long messages, double seconds);
void close_streams(void);
void stream_ready(int index);
void begin_count(void);
double quantile(double q); /* ms; 1: the highest */

/* publish.c */

struct plan {
    char *head, *item;
    long messages, window, batch, size, targets, each;
    double rate, seconds;
};

void run_plan(struct plan *p);
void repeat_request(const char *request, int count, double seconds);

#endif
