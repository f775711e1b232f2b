#define _GNU_SOURCE
#include "clinux.h"
#include <malloc.h>
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <termios.h>
#include <poll.h>
#include <time.h>
#include <unistd.h>

#define ANSWER(call) do { int r_ = (call); return r_ < 0 ? -errno : r_; } while (0)

int cl_epoll_create(void) { ANSWER(epoll_create1(EPOLL_CLOEXEC)); }
int cl_epoll_control(int epoll, int operation, int fd, uint32_t events, uint64_t data) {
    struct epoll_event e = {.events = events, .data.u64 = data};
    ANSWER(epoll_ctl(epoll, operation, fd, &e));
}
int cl_epoll_wait(int epoll, cl_event *events, int capacity, int64_t timeout_ns) {
    int ms = timeout_ns < 0 ? -1 : timeout_ns > 3600000000000LL ? 3600000 : (int)((timeout_ns + 999999) / 1000000);
    ANSWER(epoll_wait(epoll, (struct epoll_event *)events, capacity, ms));
}
int cl_has_peer_ended(int fd) {
    struct pollfd p = {.fd = fd, .events = POLLRDHUP};
    return poll(&p, 1, 0) > 0 && (p.revents & (POLLRDHUP | POLLHUP | POLLERR)) != 0;
}
int cl_eventfd(void) { ANSWER(eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC)); }
void cl_eventfd_signal(int fd) { uint64_t one = 1; while (write(fd, &one, sizeof one) < 0 && errno == EINTR) {} }

static socklen_t to_sockaddr(const cl_address *a, struct sockaddr_storage *s) {
    memset(s, 0, sizeof *s);
    if (a->family == 1) {
        struct sockaddr_un *u = (void *)s;
        u->sun_family = AF_UNIX;
        memcpy(u->sun_path, a->bytes, a->length);
        return (socklen_t)(offsetof(struct sockaddr_un, sun_path) + a->length + (a->bytes[0] ? 1 : 0));
    }
    if (a->family == 6) {
        struct sockaddr_in6 *i = (void *)s;
        i->sin6_family = AF_INET6; i->sin6_port = htons(a->port); i->sin6_scope_id = a->scope;
        memcpy(&i->sin6_addr, a->bytes, 16);
        return sizeof *i;
    }
    struct sockaddr_in *i = (void *)s;
    i->sin_family = AF_INET; i->sin_port = htons(a->port);
    memcpy(&i->sin_addr, a->bytes, 4);
    return sizeof *i;
}
static void from_sockaddr(const struct sockaddr_storage *s, socklen_t n, cl_address *a) {
    memset(a, 0, sizeof *a);
    if (s->ss_family == AF_INET6) {
        const struct sockaddr_in6 *i = (const void *)s;
        a->family = 6; a->port = ntohs(i->sin6_port); a->scope = i->sin6_scope_id; a->length = 16;
        memcpy(a->bytes, &i->sin6_addr, 16);
    } else if (s->ss_family == AF_INET) {
        const struct sockaddr_in *i = (const void *)s;
        a->family = 4; a->port = ntohs(i->sin_port); a->length = 4;
        memcpy(a->bytes, &i->sin_addr, 4);
    } else {
        const struct sockaddr_un *u = (const void *)s;
        size_t head = offsetof(struct sockaddr_un, sun_path);
        a->family = 1;
        if (n > head) {
            a->length = (uint8_t)(n - head > 107 ? 107 : n - head);
            memcpy(a->bytes, u->sun_path, a->length);
            if (a->bytes[0]) a->length = (uint8_t)strnlen((char *)a->bytes, a->length);
        }
    }
}
int cl_socket(int family, int type) {
    int domain = family == 1 ? AF_UNIX : family == 6 ? AF_INET6 : AF_INET;
    ANSWER(socket(domain, type | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
}
int cl_set_option(int fd, int level, int name, int value) { ANSWER(setsockopt(fd, level, name, &value, sizeof value)); }
int cl_set_linger(int fd, int seconds) {
    struct linger l = {1, seconds};
    ANSWER(setsockopt(fd, SOL_SOCKET, SO_LINGER, &l, sizeof l));
}
int cl_bind(int fd, const cl_address *address) {
    struct sockaddr_storage s;
    socklen_t n = to_sockaddr(address, &s);
    ANSWER(bind(fd, (void *)&s, n));
}
int cl_listen(int fd, int backlog) { ANSWER(listen(fd, backlog)); }
int cl_connect(int fd, const cl_address *address) {
    struct sockaddr_storage s;
    socklen_t n = to_sockaddr(address, &s);
    return connect(fd, (void *)&s, n) && errno != EINPROGRESS ? -errno : 0;
}
int cl_connect_result(int fd) {
    int error = 0;
    socklen_t n = sizeof error;
    return getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &n) ? -errno : -error;
}
int cl_accept(int listener, cl_address *peer) {
    struct sockaddr_storage s;
    socklen_t n = sizeof s;
    int fd = accept4(listener, (void *)&s, &n, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (fd < 0) return -errno;
    from_sockaddr(&s, n, peer);
    return fd;
}
int cl_local_address(int fd, cl_address *address) {
    struct sockaddr_storage s;
    socklen_t n = sizeof s;
    if (getsockname(fd, (void *)&s, &n)) return -errno;
    from_sockaddr(&s, n, address);
    return 0;
}
int cl_peer_credentials(int fd, int *process, unsigned *user, unsigned *group) {
    struct ucred c;
    socklen_t n = sizeof c;
    if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &c, &n)) return -errno;
    *process = c.pid; *user = c.uid; *group = c.gid;
    return 0;
}
int cl_peer_address(int fd, cl_address *address) {
    struct sockaddr_storage s;
    socklen_t n = sizeof s;
    if (getpeername(fd, (void *)&s, &n)) return -errno;
    from_sockaddr(&s, n, address);
    return 0;
}
int cl_parse_address(const char *text, cl_address *a) {
    memset(a, 0, sizeof *a);
    if (inet_pton(AF_INET, text, a->bytes) == 1) { a->family = 4; a->length = 4; return 1; }
    if (inet_pton(AF_INET6, text, a->bytes) == 1) { a->family = 6; a->length = 16; return 1; }
    return 0;
}
int cl_format_address(const cl_address *a, char *text, size_t capacity) {
    return inet_ntop(a->family == 6 ? AF_INET6 : AF_INET, a->bytes, text, (socklen_t)capacity) ? 0 : -errno;
}
int cl_resolve(const char *name, cl_address *addresses, int capacity) {
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_ADDRCONFIG}, *list = 0;
    int error = getaddrinfo(name, 0, &hints, &list), n = 0;
    if (error) return error > 0 ? -error : error;
    for (struct addrinfo *i = list; i && n < capacity; i = i->ai_next)
        if (i->ai_family == AF_INET || i->ai_family == AF_INET6) {
            struct sockaddr_storage s;
            memcpy(&s, i->ai_addr, i->ai_addrlen);
            from_sockaddr(&s, i->ai_addrlen, &addresses[n++]);
        }
    freeaddrinfo(list);
    return n;
}
long cl_read(int fd, void *bytes, size_t count) { long r = recv(fd, bytes, count, 0); return r < 0 ? -errno : r; }
long cl_send_file(int fd, int file, uint64_t offset, size_t count) {
    // It has no MSG_NOSIGNAL: SIGPIPE is held back meanwhile, and one that it raised is taken.
    sigset_t pipe, before, pending;
    sigemptyset(&pipe);
    sigaddset(&pipe, SIGPIPE);
    pthread_sigmask(SIG_BLOCK, &pipe, &before);
    off_t at = (off_t)offset;
    ssize_t r = sendfile(fd, file, &at, count);
    int error = errno;
    if (r < 0 && error == EPIPE && !sigismember(&before, SIGPIPE) && !sigpending(&pending) && sigismember(&pending, SIGPIPE))
        sigtimedwait(&pipe, NULL, &(struct timespec){0});
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return r < 0 ? -error : r;
}
long cl_write(int fd, const void *bytes, size_t count) { long r = send(fd, bytes, count, MSG_NOSIGNAL); return r < 0 ? -errno : r; }
int cl_shutdown_write(int fd) { ANSWER(shutdown(fd, SHUT_WR)); }
void cl_close(int fd) { close(fd); }
int cl_unlink_socket(const char *path) {
    struct stat s;
    if (lstat(path, &s)) return errno == ENOENT ? 0 : -errno;
    if (!S_ISSOCK(s.st_mode)) return -EADDRINUSE;
    // A file that is not refused belongs to somebody who runs: one who listens, whose queue is full, or whose socket is of another type.
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    struct sockaddr_un u = {.sun_family = AF_UNIX};
    strncpy(u.sun_path, path, sizeof u.sun_path - 1);
    int alive = fd >= 0 && (connect(fd, (void *)&u, sizeof u) == 0 || errno != ECONNREFUSED);
    if (fd >= 0) close(fd);
    if (alive) return -EADDRINUSE;
    ANSWER(unlink(path));
}
int cl_open_spare(void) { ANSWER(open("/dev/null", O_RDONLY | O_CLOEXEC)); }

static int64_t clock_ns(clockid_t id) { struct timespec t; clock_gettime(id, &t); return t.tv_sec * 1000000000LL + t.tv_nsec; }
int64_t cl_monotonic_ns(void) { return clock_ns(CLOCK_MONOTONIC); }
int64_t cl_monotonic_rough_ns(void) { return clock_ns(CLOCK_MONOTONIC_COARSE); }
int64_t cl_wall_ns(void) { return clock_ns(CLOCK_REALTIME); }
void *cl_reserve(size_t count) {
    void *p = mmap(0, count, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    return p == MAP_FAILED ? 0 : p;
}
void cl_release(void *base, size_t count) { munmap(base, count); }

typedef struct { void (*body)(void *); void *argument; } thread_start;
static void *start_thread(void *p) { thread_start s = *(thread_start *)p; free(p); s.body(s.argument); return 0; }
int cl_thread(void (*body)(void *), void *argument, uint64_t *thread) {
    thread_start *s = malloc(sizeof *s);
    s->body = body; s->argument = argument;
    pthread_t t;
    int e = pthread_create(&t, 0, start_thread, s);
    if (e) { free(s); return -e; }
    *thread = (uint64_t)t;
    return 0;
}
void cl_join(uint64_t thread) { pthread_join((pthread_t)thread, 0); }
// The Swift runtime's own question behind withUnsafeCurrentTask, without the reference that one takes.
extern void *swift_task_getCurrent(void);
uintptr_t cl_current_task(void) { return (uintptr_t)swift_task_getCurrent(); }
void cl_detach(uint64_t thread) { pthread_detach((pthread_t)thread); }
uint64_t cl_thread_id(void) { return (uint64_t)pthread_self(); }
uint64_t cl_heap_in_use(void) { struct mallinfo2 m = mallinfo2(); return m.uordblks + m.hblkhd; }
int cl_cpu_count(void) { cpu_set_t s; return sched_getaffinity(0, sizeof s, &s) ? 1 : CPU_COUNT(&s); }
int cl_raise_file_limit(void) {
    struct rlimit l;
    if (getrlimit(RLIMIT_NOFILE, &l)) return -errno;
    l.rlim_cur = l.rlim_max;
    if (setrlimit(RLIMIT_NOFILE, &l)) return -errno;
    return l.rlim_cur > 0x7fffffff ? 0x7fffffff : (int)l.rlim_cur;
}
void cl_ignore_sigpipe(void) { signal(SIGPIPE, SIG_IGN); }
static void termination_set(sigset_t *s) { sigemptyset(s); sigaddset(s, SIGINT); sigaddset(s, SIGTERM); }
void cl_block_termination(void) { sigset_t s; termination_set(&s); pthread_sigmask(SIG_BLOCK, &s, 0); }
int cl_wait_termination(void) { sigset_t s; int got = 0; termination_set(&s); while (sigwait(&s, &got)) {} return got; }
static void hangup_set(sigset_t *s) { sigemptyset(s); sigaddset(s, SIGHUP); }
void cl_block_hangup(void) { sigset_t s; hangup_set(&s); pthread_sigmask(SIG_BLOCK, &s, 0); }
void cl_wait_hangup(void) { sigset_t s; int got = 0; hangup_set(&s); while (sigwait(&s, &got)) {} }
long cl_write_all(int fd, const void *bytes, size_t count) {
    const char *p = bytes;
    while (count > 0) {
        ssize_t r = write(fd, p, count);
        if (r < 0 && errno == EAGAIN) { struct pollfd f = {.fd = fd, .events = POLLOUT}; poll(&f, 1, -1); continue; }
        if (r < 0 && errno == EINTR) continue;
        if (r < 0) return -errno;
        p += r; count -= (size_t)r;
    }
    return 0;
}
int cl_open_file(const char *path) { ANSWER(open(path, O_RDONLY | O_CLOEXEC)); }
long cl_read_file(int fd, int stop, void *bytes, size_t count) {
    for (;;) {
        struct pollfd f[2] = {{.fd = fd, .events = POLLIN}, {.fd = stop, .events = POLLIN}};
        if (poll(f, 2, -1) < 0) { if (errno == EINTR) continue; return -errno; }
        if (f[1].revents) return 0;
        ssize_t r = read(fd, bytes, count);
        if (r >= 0) return r;
        if (errno != EINTR && errno != EAGAIN) return -errno;
    }
}
long cl_write_now(int fd, const void *bytes, size_t count) {
    struct pollfd f = {.fd = fd, .events = POLLOUT};
    if (poll(&f, 1, 0) != 1 || !(f.revents & POLLOUT)) return -EAGAIN;
    ssize_t r = write(fd, bytes, count);
    return r < 0 ? -errno : r;
}
int cl_is_terminal(int fd) { return isatty(fd); }
static struct termios cl_terminal_before;
int cl_terminal_keys(int fd, int on) {
    if (!on) ANSWER(tcsetattr(fd, TCSADRAIN, &cl_terminal_before));
    if (tcgetattr(fd, &cl_terminal_before)) return -errno;
    struct termios keys = cl_terminal_before;
    keys.c_lflag &= (tcflag_t)~(ICANON | ECHO);
    keys.c_cc[VMIN] = 1;
    keys.c_cc[VTIME] = 0;
    ANSWER(tcsetattr(fd, TCSADRAIN, &keys));
}
int cl_writable_directory(const char *path) {
    if (mkdir(path, 0700) && errno != EEXIST) return -errno;
    struct stat s;
    if (stat(path, &s)) return -errno;
    if (!S_ISDIR(s.st_mode)) return -ENOTDIR;
    ANSWER(access(path, R_OK | W_OK | X_OK));
}
const char *cl_error_text(int error) { return strerrordesc_np(error < 0 ? -error : error); }
const char *cl_environment(int index) { return environ[index]; }
uint32_t cl_encode_address(const cl_address *address, void *storage) { return to_sockaddr(address, storage); }
void cl_decode_address(const void *name, uint32_t length, cl_address *address) {
    struct sockaddr_storage s = {.ss_family = AF_UNIX};  // a Unix socket without a name has none here either
    memcpy(&s, name, length > sizeof s ? sizeof s : length);
    from_sockaddr(&s, length, address);
}
