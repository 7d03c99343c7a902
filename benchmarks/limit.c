/* limit: the least that a server of event streams can do, to hold a real one against.
 *
 * A GET is answered with an event stream, as many as come. The body of a POST is a frame: it goes out with one send()
 * for each open stream. No authentication, no history, no backlog: what a socket does not take at once is lost.
 *
 * Usage: limit PORT        Listens on 127.0.0.1, prints a line once it does, runs until killed.
 */
#define _GNU_SOURCE
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#define MOST 65536
#define REQUEST (1 << 20)

static const char STREAM[] = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nCache-Control: no-store\r\n"
                             "Transfer-Encoding: chunked\r\n\r\n";
static const char DONE[] = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}";

struct request {
    char bytes[REQUEST];
    size_t length;
};

static int streams[MOST], place[MOST], count; /* place[fd] - 1 is where the descriptor stands in streams; 0: nowhere */
static struct request *pending[MOST];         /* of connections that have not become streams */

static void die(const char *what) {
    perror(what);
    exit(2);
}

static void forget(int fd) {
    if (place[fd]) {
        int last = streams[--count];
        streams[place[fd] - 1] = last;
        place[last] = place[fd];
        place[fd] = 0;
    }
    free(pending[fd]);
    pending[fd] = NULL;
    close(fd);
}

static void fan_out(const char *body, size_t length) {
    static char frame[REQUEST + 32];
    size_t size = sprintf(frame, "%zx\r\n", length);
    memcpy(frame + size, body, length);
    memcpy(frame + size + length, "\r\n", 2);
    for (int i = 0; i < count; i++)
        send(streams[i], frame, size + length + 2, MSG_NOSIGNAL | MSG_DONTWAIT);
}

static void open_stream(int fd) {
    free(pending[fd]);
    pending[fd] = NULL;
    streams[count++] = fd;
    place[fd] = count;
    send(fd, STREAM, sizeof STREAM - 1, MSG_NOSIGNAL);
}

/* Answers the requests that are complete. */
static void serve(int fd) {
    struct request *request = pending[fd];
    char *end;
    while ((end = memmem(request->bytes, request->length, "\r\n\r\n", 4))) {
        if (!memcmp(request->bytes, "GET ", 4)) {
            open_stream(fd);
            return;
        }
        char *header = memmem(request->bytes, end - request->bytes, "Content-Length: ", 16);
        size_t body = header ? strtoul(header + 16, NULL, 10) : 0, head = end + 4 - request->bytes;
        if (head + body > REQUEST) {
            forget(fd);
            return;
        }
        if (request->length < head + body)
            return;
        if (body)
            fan_out(end + 4, body);
        send(fd, DONE, sizeof DONE - 1, MSG_NOSIGNAL);
        request->length -= head + body;
        memmove(request->bytes, request->bytes + head + body, request->length);
    }
}

static void readable(int fd) {
    static char scratch[65536];
    struct request *request = pending[fd];
    ssize_t n = request ? recv(fd, request->bytes + request->length, REQUEST - request->length, 0)
                        : recv(fd, scratch, sizeof scratch, 0);
    if (n <= 0) {
        forget(fd);
    } else if (request) {
        request->length += n;
        serve(fd);
    }
}

static int listen_at(int port) {
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0), one = 1;
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    if (bind(fd, (void *)&address, sizeof address) || listen(fd, 4096))
        die("listen");
    return fd;
}

static void accept_all(int epoll, int listener) {
    int fd, one = 1;
    while ((fd = accept(listener, NULL, NULL)) >= 0) {
        if (fd >= MOST || !(pending[fd] = malloc(sizeof **pending))) {
            close(fd);
            continue;
        }
        pending[fd]->length = 0;
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
        struct epoll_event wanted = {.events = EPOLLIN, .data.fd = fd};
        epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &wanted);
    }
}

int main(int argc, char **argv) {
    struct rlimit files;
    getrlimit(RLIMIT_NOFILE, &files);
    files.rlim_cur = files.rlim_max;
    setrlimit(RLIMIT_NOFILE, &files);
    int epoll = epoll_create1(0), listener = listen_at(argc > 1 ? atoi(argv[1]) : 0);
    struct epoll_event wanted = {.events = EPOLLIN, .data.fd = listener}, events[1024];
    epoll_ctl(epoll, EPOLL_CTL_ADD, listener, &wanted);
    puts("listening");
    fflush(stdout);
    for (;;) {
        int n = epoll_wait(epoll, events, 1024, -1);
        for (int i = 0; i < n; i++) {
            if (events[i].data.fd == listener)
                accept_all(epoll, listener);
            else
                readable(events[i].data.fd);
        }
    }
}
