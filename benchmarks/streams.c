/* The streams: opens them, and counts and times what arrives. */
#include "load.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#define PER_SOURCE 8000  /* connections from one loopback address: with half of its ports taken the kernel searches long */
#define BUCKETS 4096
#define DIALS 128        /* connections begun between two looks at what came */
#define PATIENCE 600e9   /* ns until streams that are not open count as refused */
#define RETRY 2e9        /* ns until a stream that was sent away while streams open comes again */

enum state { CONNECTING, ASKED, OPEN, CLOSED };

struct stream {
    int fd, carried;
    enum state state;
    int slow;
    long next;   /* least number that is not out of order */
    size_t left; /* of the chunk and its line end */
    char carry[MARK];
};

struct seen seen;
int stream_count, opened, ended, never_read;

static struct stream *streams;
static char (*asks)[2048];
static int wave, refused, again, opening, count_chunks;
static struct turn { int index; uint64_t due; } *turns; /* who comes again, a ring of stream_count */
static uint64_t buckets[BUCKETS], lowest, highest;

/* Latencies: microseconds in buckets, 64 for each power of two. */

static void record(uint64_t ns) {
    uint64_t us = ns / 1000;
    int shift = us < 128 ? 0 : 57 - __builtin_clzll(us);
    uint64_t bucket = ((uint64_t)shift << 6) + (us >> shift);
    buckets[bucket < BUCKETS ? bucket : BUCKETS - 1]++;
    if (us > highest)
        highest = us;
    if (us < lowest)
        lowest = us;
}

/* The least ms that fall into a bucket. */
static double least(int bucket) {
    int shift = bucket < 128 ? 0 : (bucket >> 6) - 1;
    return (double)((uint64_t)(bucket - (shift << 6)) << shift) / 1000;
}

double quantile(double q) {
    if (q >= 1)
        return highest / 1e3;
    uint64_t total = 0, reached = 0;
    for (int i = 0; i < BUCKETS; i++)
        total += buckets[i];
    for (int i = 0; i < BUCKETS; i++) {
        reached += buckets[i];
        if (total && reached >= q * total)
            return least(i);
    }
    return 0;
}

static void forget_times(void) {
    memset(buckets, 0, sizeof buckets);
    lowest = UINT64_MAX;
    highest = 0;
    seen = (struct seen){0};
}

/* Sockets */

void watch(int fd, uint32_t events, int index, int is_new) {
    struct epoll_event wanted = {.events = events, .data.u32 = index};
    epoll_ctl(epoll, is_new ? EPOLL_CTL_ADD : EPOLL_CTL_MOD, fd, &wanted);
}

/* One that never reads gets little room in both kernels' buffers, of which the sender's grows with the segment size. */
int dial(int index, int slow) {
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0), one = 1, room = 4096, segment = 536;
    if (fd < 0)
        die("socket");
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    if (slow) {
        setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &room, sizeof room);
        setsockopt(fd, IPPROTO_TCP, TCP_MAXSEG, &segment, sizeof segment);
    }
    /* Each wave comes from addresses of its own: ports of the one before may still be waiting. */
    struct sockaddr_in source = {.sin_family = AF_INET};
    source.sin_addr.s_addr = htonl(0x7f000000u | (getpid() & 63) << 18 | (wave & 255) << 8 | (2 + index / PER_SOURCE));
    setsockopt(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &one, sizeof one);
    if (bind(fd, (void *)&source, sizeof source))
        die("bind");
    struct sockaddr_in server = {.sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    if (connect(fd, (void *)&server, sizeof server) && errno != EINPROGRESS)
        die("connect");
    return fd;
}

/* Receiving */

static uint64_t hex(const char *digits, int count) {
    uint64_t value = 0;
    for (int i = 0; i < count; i++)
        value = value << 4 | (digits[i] <= '9' ? digits[i] - '0' : digits[i] - 'a' + 10);
    return value;
}

static void scan(struct stream *s, const char *data, size_t length, uint64_t t) {
    const char *at = data, *end = data + length;
    while ((at = memchr(at, '~', end - at)) && end - at >= MARK) {
        if (at[MARK - 1] != '~') {
            at++;
            continue;
        }
        long number = hex(at + 17, 8);
        seen.reordered += number < s->next;
        s->next = number + 1;
        record(t - hex(at + 1, 16));
        seen.arrivals++;
        at += MARK;
    }
    s->carried = at ? end - at : 0;
    memcpy(s->carry, at ? at : end, s->carried);
}

static void walk(struct stream *s, const char *data, size_t length) {
    const char *end = data + length;
    while (data < end) {
        if (s->left) {
            size_t step = s->left < (size_t)(end - data) ? s->left : (size_t)(end - data);
            data += step;
            s->left -= step;
            continue;
        }
        /* A size line, which may come in parts: collected where markers would be carried. */
        if (*data != '\n')
            s->carry[s->carried++ % MARK] = *data++;
        else {
            s->carry[s->carried % MARK] = 0;
            s->left = strtoul(s->carry, NULL, 16) + 2;
            s->carried = 0;
            seen.arrivals++;
            data++;
        }
    }
}

static void take(struct stream *s, const char *data, size_t length, uint64_t t) {
    seen.bytes += length;
    seen.last_arrival = t;
    if (count_chunks)
        walk(s, data, length);
    else
        scan(s, data, length, t);
}

static void end_stream(struct stream *s) {
    close(s->fd);
    if (opening) {
        if (!again)
            fprintf(stderr, "load: stream %d: closed in state %d, comes again\n", (int)(s - streams), s->state);
        opened -= s->state == OPEN;
        turns[again++ % stream_count] = (struct turn){s - streams, now() + RETRY};
    } else {
        ended++;
    }
    s->state = CLOSED;
}

static void refuse(struct stream *s, const char *answer, int length) {
    if (!refused++)
        fprintf(stderr, "load: stream %d: %.*s\n", (int)(s - streams), length, answer);
    close(s->fd);
    s->state = CLOSED;
}

void stream_ready(int index) {
    static char buffer[MARK + (1 << 18)];
    struct stream *s = &streams[index];
    if (s->state == CONNECTING) {
        int length = strlen(asks[index]);
        if (send(s->fd, asks[index], length, MSG_NOSIGNAL) != length) {
            end_stream(s);
            return;
        }
        s->state = ASKED;
        watch(s->fd, EPOLLIN, index, 0);
        return;
    }
    int carried = count_chunks ? 0 : s->carried;
    memcpy(buffer, s->carry, carried);
    ssize_t n = recv(s->fd, buffer + carried, sizeof buffer - carried, 0);
    uint64_t t = now();
    if (n < 0 && errno == EAGAIN)
        return;
    if (n <= 0) {
        end_stream(s);
    } else if (s->state == OPEN) {
        take(s, buffer, n + carried, t);
    } else {
        char *body = memmem(buffer, n, "\r\n\r\n", 4);
        if (!body || memcmp(buffer, "HTTP/1.1 200", 12)) {
            refuse(s, buffer, n);
            return;
        }
        s->state = OPEN;
        opened++;
        seen.last_arrival = t;
        never_read += s->slow;
        if (s->slow)
            epoll_ctl(epoll, EPOLL_CTL_DEL, s->fd, NULL);
        else
            take(s, body + 4, buffer + n - body - 4, t);
    }
}

static void begin(int index, int slow) {
    struct stream *s = &streams[index];
    *s = (struct stream){.slow = index < slow};
    s->fd = dial(index, s->slow);
    watch(s->fd, EPOLLOUT, index, 1);
}

void open_streams(const char *name, int count, int slow, int gzip, int burst) {
    FILE *file = fopen(name, "r");
    if (!file)
        die(name);
    streams = calloc(count, sizeof *streams);
    asks = calloc(count, sizeof *asks);
    stream_count = count;
    turns = calloc(count, sizeof *turns);
    opened = refused = again = ended = never_read = 0;
    opening = 1;
    count_chunks = gzip;
    forget_times();
    for (int i = 0; i < count; i++) {
        char path[256], token[1500];
        if (fscanf(file, "%255s %1499s", path, token) != 2)
            die("a line for each stream");
        snprintf(asks[i], sizeof asks[i], "GET %s HTTP/1.1\r\nHost: 127.0.0.1\r\nAccept: text/event-stream\r\n%sAuthorization: Bearer %s\r\n\r\n",
                 path, gzip ? "Accept-Encoding: gzip\r\n" : "", token);
    }
    fclose(file);
    struct epoll_event events[1024];
    uint64_t began = now();
    for (int started = 0, returned = 0; opened + refused < count && now() - began < PATIENCE;) {
        int room = DIALS; /* those that are connected must send meanwhile, or the server gives them up */
        for (; room && started < count && started < opened + refused + burst; started++, room--)
            begin(started, slow);
        for (; returned < again && turns[returned % count].due < now(); returned++)
            begin(turns[returned % count].index, slow);
        int n = epoll_wait(epoll, events, 1024, room ? 100 : 0);
        for (int i = 0; i < n; i++)
            stream_ready(events[i].data.u32);
    }
    double seconds = (now() - began) / 1e9;
    opening = 0;
    free(turns);
    printf("{\"opened\": %d, \"refused\": %d, \"again\": %d, \"seconds\": %f, \"per_second\": %f}\n", opened, count - opened, again, seconds,
           opened / seconds);
}

void close_streams(void) {
    for (int i = 0; i < stream_count; i++)
        if (streams[i].state != CLOSED)
            close(streams[i].fd);
    free(streams);
    free(asks);
    stream_count = 0;
    wave++;
    puts("{}");
}

/* Messages are numbered from when the streams opened, so that one that comes twice, however late, is out of order. */
void receive(long messages, double seconds) {
    struct epoll_event events[1024];
    uint64_t until = now() + seconds * 1e9, wanted = messages * (uint64_t)opened;
    for (uint64_t t; (t = now()) < until && (!messages || seen.arrivals < wanted);) {
        int n = epoll_wait(epoll, events, 1024, (until - t) / 1000000 + 1);
        for (int i = 0; i < n; i++)
            stream_ready(events[i].data.u32);
    }
    printf("{\"arrivals\": %llu, \"reordered\": %llu, \"bytes\": %llu, \"ended\": %d, \"first\": %f, \"last\": %f, \"times\": [",
           (unsigned long long)seen.arrivals, (unsigned long long)seen.reordered, (unsigned long long)seen.bytes, ended, lowest / 1e3,
           highest / 1e3);
    const char *between = "";
    for (int i = 0; i < BUCKETS; i++)
        if (buckets[i]) {
            printf("%s[%f, %llu]", between, least(i), (unsigned long long)buckets[i]);
            between = ", ";
        }
    puts("]}");
    forget_times();
}

void begin_count(void) {
    for (int i = 0; i < stream_count; i++)
        streams[i].next = 0;
    forget_times();
}
