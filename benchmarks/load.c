/* load: opens event streams, publishes, and counts what arrives. It is told what to do line by line on standard input,
 * and answers each line with one line of JSON, so that whoever measures the server can look at it in between.
 *
 *   open FILE COUNT SLOW [gzip]     Opens COUNT streams; line i of FILE is "PATH TOKEN". The first SLOW are never read.
 *   publish HEAD ITEM key=value...  Publishes and waits for what must arrive. HEAD is a file with the request's head
 *                                   up to Content-Length, ITEM one with a message: $M becomes a marker padded to
 *                                   size=, $I the index of the target, of which there are targets= (0: all streams);
 *                                   each= streams get a message. messages= window= (as fast as it goes) or rate=
 *                                   seconds=; batch= in one request. Of compressed streams, chunks are counted.
 *   request FILE CONNECTIONS SECONDS   Sends the request in FILE again and again, one at a time on each connection.
 *   close                           Closes the streams.
 *
 * Usage: load PORT
 * A marker is ~ 16 hex digits of monotonic nanoseconds, 8 of the number, and ~.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define MARK 26
#define BURST 128        /* connections in the making */
#define PIPELINE 32      /* publish requests on their way */
#define PER_SOURCE 20000 /* connections from one loopback address, below the kernel's range of ports */
#define SETTLE 5e9       /* ns without anything happening until what is missing is lost */
#define BUCKETS 4096

enum state { CONNECTING, ASKED, OPEN, CLOSED };

struct stream {
    int fd, carried;
    enum state state;
    int slow, at_size; /* at_size: the next bytes are a chunk's size line */
    long next;         /* least number that is not out of order */
    size_t left;       /* of the chunk and its line end */
    char carry[MARK];
};

static int port, epoll, wave;
static struct stream *streams;
static int stream_count, opened, refused, ended;
static char (*asks)[2048];
static uint64_t deliveries, chunks, bytes, reordered, last_arrival;
static uint64_t buckets[BUCKETS], highest;
static int count_chunks;

static void die(const char *what) {
    fprintf(stderr, "load: %s: %s\n", what, strerror(errno));
    exit(2);
}

static uint64_t now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * 1000000000ull + t.tv_nsec;
}

/* Latencies: microseconds in buckets, 64 for each power of two. */

static void record(uint64_t ns) {
    uint64_t us = ns / 1000;
    int shift = us < 128 ? 0 : 57 - __builtin_clzll(us);
    uint64_t bucket = ((uint64_t)shift << 6) + (us >> shift);
    buckets[bucket < BUCKETS ? bucket : BUCKETS - 1]++;
    if (us > highest)
        highest = us;
}

static double quantile(double q) {
    uint64_t total = 0, reached = 0;
    for (int i = 0; i < BUCKETS; i++)
        total += buckets[i];
    for (int i = 0; i < BUCKETS; i++) {
        reached += buckets[i];
        if (total && reached >= q * total) {
            int shift = i < 128 ? 0 : (i >> 6) - 1;
            return ((double)((uint64_t)(i - (shift << 6)) << shift)) / 1000;
        }
    }
    return 0;
}

/* Sockets */

static void watch(int fd, uint32_t events, int index, int is_new) {
    struct epoll_event wanted = {.events = events, .data.u32 = index};
    epoll_ctl(epoll, is_new ? EPOLL_CTL_ADD : EPOLL_CTL_MOD, fd, &wanted);
}

/* One that never reads gets little room in both kernels' buffers, of which the sender's grows with the segment size. */
static int dial(int index, int slow) {
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
        reordered += number < s->next;
        s->next = number + 1;
        record(t - hex(at + 1, 16));
        deliveries++;
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
            chunks++;
            data++;
        }
    }
}

static void take(struct stream *s, const char *data, size_t length, uint64_t t) {
    bytes += length;
    last_arrival = t;
    if (count_chunks)
        walk(s, data, length);
    else
        scan(s, data, length, t);
}

static void end_stream(struct stream *s) {
    refused += s->state != OPEN;
    ended += s->state == OPEN;
    s->state = CLOSED;
    close(s->fd);
}

static void stream_ready(int index) {
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
            if (!refused)
                fprintf(stderr, "load: stream %d: %.*s\n", index, (int)n, buffer);
            end_stream(s);
            return;
        }
        s->state = OPEN;
        opened++;
        last_arrival = t;
        if (s->slow)
            epoll_ctl(epoll, EPOLL_CTL_DEL, s->fd, NULL);
        else
            take(s, body + 4, buffer + n - body - 4, t);
    }
}

/* Commands */

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

static void command_open(const char *name, int count, int slow, int gzip) {
    FILE *file = fopen(name, "r");
    if (!file)
        die(name);
    streams = calloc(count, sizeof *streams);
    asks = calloc(count, sizeof *asks);
    stream_count = count;
    opened = refused = ended = 0;
    count_chunks = gzip;
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
    for (int started = 0; opened + refused + ended < count;) {
        for (; started < count && started < opened + refused + ended + BURST; started++) {
            struct stream *s = &streams[started];
            s->slow = started < slow;
            s->fd = dial(started, s->slow);
            watch(s->fd, EPOLLOUT, started, 1);
        }
        int n = epoll_wait(epoll, events, 1024, 30000);
        if (!n)
            break;
        for (int i = 0; i < n; i++)
            stream_ready(events[i].data.u32);
    }
    double seconds = (now() - began) / 1e9;
    printf("{\"opened\": %d, \"refused\": %d, \"seconds\": %f, \"per_second\": %f}\n", opened, count - opened, seconds, opened / seconds);
}

static void command_close(void) {
    for (int i = 0; i < stream_count; i++)
        if (streams[i].state != CLOSED)
            close(streams[i].fd);
    free(streams);
    free(asks);
    stream_count = 0;
    wave++;
    puts("{}");
}

/* One connection that requests are sent on. */
struct connection {
    int fd, in_flight;
    char *out, *in;
    size_t out_length, out_room, in_length;
    uint64_t answered, bad;
};

#define ANSWER (4 << 20)

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

struct plan {
    char *head, *item;
    long messages, window, batch, size, targets, each;
    double rate, seconds;
};

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

static void command_publish(struct plan *p) {
    struct connection c;
    struct epoll_event events[1024];
    int slow = 0;
    for (int i = 0; i < stream_count; i++) {
        slow += streams[i].slow;
        streams[i].next = 0;
    }
    connect_to(&c, stream_count);
    memset(buckets, 0, sizeof buckets);
    deliveries = chunks = bytes = reordered = highest = 0;
    uint64_t each = p->each ? p->each : p->targets ? 1 : opened - slow;
    if (p->rate > 0)
        p->messages = p->rate * p->seconds;
    long published = 0;
    uint64_t began = now(), changed = began, seen = 0, cpu_began = clock();
    for (;;) {
        uint64_t t = now(), arrived = count_chunks ? chunks : deliveries;
        if (arrived + c.answered != seen) {
            seen = arrived + c.answered;
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
    uint64_t arrived = count_chunks ? chunks : deliveries;
    double seconds = (last_arrival > began ? last_arrival - began : 1) / 1e9;
    printf("{\"published\": %ld, \"seconds\": %f, \"messages_per_second\": %f, \"deliveries\": %llu, \"per_second\": %f, \"lost\": %lld, "
           "\"reordered\": %llu, \"bytes\": %llu, \"closed\": %d, \"refused\": %llu, \"p50\": %f, \"p99\": %f, \"max\": %f, \"load_cpu\": %f}\n",
           published, seconds, published / seconds, (unsigned long long)arrived, arrived / seconds, (long long)(published * each - arrived),
           (unsigned long long)reordered, (unsigned long long)bytes, ended, (unsigned long long)c.bad, quantile(.5), quantile(.99),
           highest / 1e3, (clock() - cpu_began) / (double)CLOCKS_PER_SEC);
    hang_up(&c);
}

static void command_request(const char *name, int count, double seconds) {
    char *request = slurp(name);
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
    free(request);
}

static void parse_publish(char *words) {
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
    command_publish(&p);
    free(p.head);
    free(p.item);
}

static void obey(char *line) {
    char name[1024], word[16] = "";
    int count, slow;
    double seconds;
    line[strcspn(line, "\n")] = 0;
    if (sscanf(line, "open %1023s %d %d %15s", name, &count, &slow, word) >= 3)
        command_open(name, count, slow, !strcmp(word, "gzip"));
    else if (!strncmp(line, "publish ", 8))
        parse_publish(line + 8);
    else if (sscanf(line, "request %1023s %d %lf", name, &count, &seconds) == 3)
        command_request(name, count, seconds);
    else if (!strcmp(line, "close"))
        command_close();
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
