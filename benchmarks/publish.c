/* Publishing: connections that requests are sent on, and the two ways to use them. */
#include "load.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define PIPELINE 32      /* publish requests on their way */
#define SETTLE 5e9       /* ns without anything happening until what is missing is lost */
#define ANSWER (4 << 20) /* bytes of an answer at most */

/* One connection that requests are sent on. */
struct connection {
    int fd, in_flight;
    char *out, *in;
    size_t out_length, out_room, in_length;
    uint64_t answered, bad;
};

static void push(struct connection *c) {
    while (c->out_length) {
        ssize_t n = send(c->fd, c->out, c->out_length, MSG_NOSIGNAL);
        if (n <= 0)
            return;
        c->out_length -= n;
        memmove(c->out, c->out + n, c->out_length);
    }
}

static void queue(struct connection *c, const char *data, size_t length) {
    if (c->out_length + length > c->out_room) {
        c->out_room = 2 * (c->out_length + length);
        c->out = realloc(c->out, c->out_room);
    }
    memcpy(c->out + c->out_length, data, length);
    c->out_length += length;
    c->in_flight++;
    push(c);
}

/* Reads answers; they must have a Content-Length. */
static void pull(struct connection *c) {
    ssize_t n = recv(c->fd, c->in + c->in_length, ANSWER - c->in_length, 0);
    if (n < 0 && errno == EAGAIN)
        return;
    if (n <= 0)
        die("the server closed a publishing connection");
    c->in_length += n;
    char *end;
    while ((end = memmem(c->in, c->in_length, "\r\n\r\n", 4))) {
        *end = 0;
        char *header = strcasestr(c->in, "content-length:");
        *end = '\r';
        size_t whole = end + 4 - c->in + (header ? strtoul(header + 15, NULL, 10) : 0);
        if (c->in_length < whole)
            return;
        if (c->in[9] != '2' && !c->bad++)
            fprintf(stderr, "load: %.*s\n", (int)(whole < 400 ? whole : 400), c->in);
        c->answered++;
        c->in_flight--;
        c->in_length -= whole;
        memmove(c->in, c->in + whole, c->in_length);
    }
}

static void connect_to(struct connection *c, int index) {
    memset(c, 0, sizeof *c);
    c->fd = dial(0, 0);
    c->in = malloc(ANSWER);
    watch(c->fd, EPOLLIN | EPOLLOUT | EPOLLET, index, 1);
}

static void hang_up(struct connection *c) {
    close(c->fd);
    free(c->in);
    free(c->out);
}

static size_t compose(const struct plan *p, char *out, long number, uint64_t t) {
    char *at = out;
    for (const char *c = p->item; *c; c++) {
        if (c[0] == '$' && c[1] == 'M') {
            at += sprintf(at, "~%016llx%08lx~", (unsigned long long)t, number);
            for (long pad = MARK; pad < p->size; pad++)
                *at++ = 'x';
            c++;
        } else if (c[0] == '$' && c[1] == 'I') {
            at += sprintf(at, "%ld", p->targets ? number % p->targets : 0);
            c++;
        } else {
            *at++ = *c;
        }
    }
    return at - out;
}

static void publish(const struct plan *p, struct connection *c, long first, long count, uint64_t t) {
    static char *request, *body;
    size_t room = (p->size + strlen(p->item) + 64) * p->batch, length = 0;
    request = realloc(request, room + strlen(p->head) + 64);
    body = realloc(body, room);
    for (long i = 0; i < count; i++) {
        if (i)
            body[length++] = '\n';
        length += compose(p, body + length, first + i, t);
    }
    size_t head = sprintf(request, "%sContent-Length: %zu\r\n\r\n", p->head, length);
    memcpy(request + head, body, length);
    queue(c, request, head + length);
}

void run_plan(struct plan *p) {
    struct connection c;
    struct epoll_event events[1024];
    connect_to(&c, stream_count);
    begin_count();
    uint64_t each = p->each ? p->each : p->targets ? 1 : opened - never_read;
    if (p->rate > 0)
        p->messages = p->rate * p->seconds;
    long published = 0;
    uint64_t began = now(), changed = began, progress = 0, cpu_began = clock();
    for (;;) {
        uint64_t t = now(), arrived = seen.arrivals;
        if (arrived + c.answered != progress) {
            progress = arrived + c.answered;
            changed = t;
        }
        if ((published >= p->messages && arrived >= published * each && !c.in_flight) || t - changed > SETTLE)
            break;
        int wait = 100;
        if (published < p->messages && c.in_flight < PIPELINE) {
            long count = p->messages - published < p->batch ? p->messages - published : p->batch;
            uint64_t due = p->rate > 0 ? began + (uint64_t)(published / p->rate * 1e9) : t;
            int room = p->rate > 0 || (published + count) * each <= arrived + p->window * each;
            if (due <= t && room) {
                publish(p, &c, published, count, due);
                published += count;
                wait = 0;
            } else if (due > t) {
                wait = (due - t) / 1000000;
            }
        }
        int n = epoll_wait(epoll, events, 1024, wait);
        for (int i = 0; i < n; i++) {
            if (events[i].data.u32 < (uint32_t)stream_count) {
                stream_ready(events[i].data.u32);
            } else {
                push(&c);
                pull(&c);
            }
        }
    }
    uint64_t arrived = seen.arrivals;
    double seconds = (seen.last_arrival > began ? seen.last_arrival - began : 1) / 1e9;
    printf("{\"published\": %ld, \"seconds\": %f, \"messages_per_second\": %f, \"deliveries\": %llu, \"per_second\": %f, \"lost\": %lld, "
           "\"reordered\": %llu, \"bytes\": %llu, \"closed\": %d, \"refused\": %llu, \"p50\": %f, \"p99\": %f, \"max\": %f, \"load_cpu\": %f}\n",
           published, seconds, published / seconds, (unsigned long long)arrived, arrived / seconds, (long long)(published * each - arrived),
           (unsigned long long)seen.reordered, (unsigned long long)seen.bytes, ended, (unsigned long long)c.bad, quantile(.5), quantile(.99),
           quantile(1), (clock() - cpu_began) / (double)CLOCKS_PER_SEC);
    hang_up(&c);
}

void repeat_request(const char *request, int count, double seconds) {
    struct connection *connections = calloc(count, sizeof *connections);
    struct epoll_event events[1024];
    for (int i = 0; i < count; i++)
        connect_to(&connections[i], stream_count + i);
    uint64_t began = now(), answered = 0, bad = 0;
    while (now() - began < seconds * 1e9) {
        int n = epoll_wait(epoll, events, 1024, 100);
        for (int i = 0; i < n; i++) {
            if (events[i].data.u32 < (uint32_t)stream_count) {
                stream_ready(events[i].data.u32);
                continue;
            }
            struct connection *c = &connections[events[i].data.u32 - stream_count];
            push(c);
            pull(c);
            if (!c->in_flight)
                queue(c, request, strlen(request));
        }
    }
    double took = (now() - began) / 1e9;
    for (int i = 0; i < count; i++) {
        answered += connections[i].answered;
        bad += connections[i].bad;
        hang_up(&connections[i]);
    }
    printf("{\"requests\": %llu, \"seconds\": %f, \"per_second\": %f, \"refused\": %llu}\n", (unsigned long long)answered, took,
           answered / took, (unsigned long long)bad);
    free(connections);
}
