// Plain blocking calls, threads with a stack of a chosen size, and child processes with what /proc says of them.
#define _GNU_SOURCE
#include "clinux.h"
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

int cl_set_blocking(int fd, int blocking) {
    int flags = fcntl(fd, F_GETFL);
    if (flags < 0 || fcntl(fd, F_SETFL, blocking ? flags & ~O_NONBLOCK : flags | O_NONBLOCK) < 0) return -errno;
    return 0;
}
int cl_wait_ready(int fd, int for_writing, int64_t timeout_ns) {
    struct pollfd p = {.fd = fd, .events = for_writing ? POLLOUT : POLLIN};
    struct timespec t = {timeout_ns / 1000000000, timeout_ns % 1000000000};
    int r = ppoll(&p, 1, timeout_ns < 0 ? 0 : &t, 0);
    return r < 0 ? -errno : r;
}
long cl_send_now(int fd, const void *bytes, size_t count) {
    long r = send(fd, bytes, count, MSG_NOSIGNAL | MSG_DONTWAIT);
    return r < 0 ? -errno : r;
}
int cl_shutdown(int fd, int how) { return shutdown(fd, how) ? -errno : 0; }
int cl_set_send_timeout(int fd, int64_t ns) {
    struct timeval t = {ns / 1000000000, ns % 1000000000 / 1000};
    return setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &t, sizeof t) ? -errno : 0;
}

typedef struct { void (*body)(void *); void *argument; } thread_start;
static void *start_thread(void *p) { thread_start s = *(thread_start *)p; free(p); s.body(s.argument); return 0; }
int cl_thread_detached(void (*body)(void *), void *argument, size_t stack) {
    pthread_attr_t a;
    pthread_t t;
    thread_start *s = malloc(sizeof *s);
    *s = (thread_start){body, argument};
    pthread_attr_init(&a);
    pthread_attr_setdetachstate(&a, PTHREAD_CREATE_DETACHED);
    int e = pthread_attr_setstacksize(&a, stack);
    if (!e) e = pthread_create(&t, &a, start_thread, s);
    pthread_attr_destroy(&a);
    if (e) free(s);
    return -e;
}
void cl_sleep_ns(int64_t ns) {
    struct timespec t = {ns / 1000000000, ns % 1000000000};
    while (nanosleep(&t, &t) && errno == EINTR) {}
}

int cl_spawn(char *const *arguments, int *error_pipe) {
    int ends[2];
    if (pipe2(ends, O_CLOEXEC)) return -errno;
    pid_t parent = getpid(), child = fork();
    if (child < 0) { int e = errno; close(ends[0]); close(ends[1]); return -e; }
    if (child == 0) {
        // Whatever becomes of the parent, the child goes with it.
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        if (getppid() != parent) _exit(127);
        sigset_t none;
        sigemptyset(&none);
        sigprocmask(SIG_SETMASK, &none, 0);
        dup2(ends[1], 2);
        execv(arguments[0], arguments);
        _exit(127);
    }
    close(ends[1]);
    *error_pipe = ends[0];
    return child;
}
int cl_kill(int process, int sig) { return kill(process, sig) ? -errno : 0; }
int cl_wait_child(int process, int blocks, int *status) {
    int s = 0;
    pid_t r;
    while ((r = waitpid(process, &s, blocks ? 0 : WNOHANG)) < 0 && errno == EINTR) {}
    if (r < 0) return -errno;
    if (r > 0) *status = WIFEXITED(s) ? WEXITSTATUS(s) : 128 + WTERMSIG(s);
    return r > 0;
}
long cl_read_pipe(int fd, void *bytes, size_t count) {
    long r;
    while ((r = read(fd, bytes, count)) < 0 && errno == EINTR) {}
    return r < 0 ? -errno : r;
}
int64_t cl_process_cpu_ns(int process) {
    clockid_t id;
    struct timespec t;
    int e = clock_getcpuclockid(process, &id);
    if (e) return -e;
    if (clock_gettime(id, &t)) return -errno;
    return t.tv_sec * 1000000000LL + t.tv_nsec;
}
long cl_read_small_file(const char *path, void *bytes, size_t capacity) {
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) return -errno;
    size_t n = 0;
    long r = 0;
    while (n < capacity && (r = read(fd, (char *)bytes + n, capacity - n)) > 0) n += (size_t)r;
    int e = errno;
    close(fd);
    return r < 0 ? -e : (long)n;
}
long cl_list_numbers(const char *path, int *numbers, size_t capacity) {
    DIR *d = opendir(path);
    if (!d) return -errno;
    size_t n = 0;
    for (struct dirent *e; (e = readdir(d));)
        if (e->d_name[0] >= '0' && e->d_name[0] <= '9') {
            if (n < capacity) numbers[n] = atoi(e->d_name);
            n++;
        }
    closedir(d);
    return (long)n;
}
int cl_write_file(const char *path, const void *bytes, size_t count) {
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
    if (fd < 0) return -errno;
    long r = cl_write_all(fd, bytes, count);
    close(fd);
    return (int)r;
}
