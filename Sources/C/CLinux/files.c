// Files and directories by blocking calls that end only when all is done, and threads that wait for one another.
#define _GNU_SOURCE
#include "clinux.h"
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/futex.h>
#include <linux/openat2.h>
#include <pthread.h>
#include <stdio.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

// Again while a signal interrupts it.
#define RETRIED(type, call) type r; do r = (call); while (r < 0 && errno == EINTR); return r < 0 ? -errno : r

int cl_file_open(const char *path, int flags, unsigned mode) {
    int f = O_CLOEXEC | O_NOCTTY | (flags & CL_FILE_WRITE ? O_RDWR : O_RDONLY) | (flags & CL_FILE_MAKE ? O_CREAT : 0)
        | (flags & CL_FILE_EXCLUSIVE ? O_EXCL : 0) | (flags & CL_FILE_DIRECTORY ? O_DIRECTORY : 0);
    RETRIED(int, open(path, f, mode));
}
long cl_file_read(int fd, void *bytes, size_t count, uint64_t offset) {
    size_t done = 0;
    while (done < count) {
        ssize_t r = pread(fd, (char *)bytes + done, count - done, (off_t)(offset + done));
        if (r < 0 && errno == EINTR) continue;
        if (r < 0) return -errno;
        if (r == 0) break;
        done += (size_t)r;
    }
    return (long)done;
}
int cl_file_write(int fd, const void *bytes, size_t count, uint64_t offset) {
    size_t done = 0;
    while (done < count) {
        ssize_t r = pwrite(fd, (const char *)bytes + done, count - done, (off_t)(offset + done));
        if (r < 0 && errno == EINTR) continue;
        if (r < 0) return -errno;
        if (r == 0) return -EIO;
        done += (size_t)r;
    }
    return 0;
}
int cl_file_write_zeros(int fd, uint64_t offset, uint64_t count) {
    enum { PIECE = 1 << 20 };
    void *zeros = calloc(1, PIECE);
    if (!zeros) return -ENOMEM;
    int r = 0;
    while (count && !r) {
        size_t piece = count < PIECE ? count : PIECE;
        r = cl_file_write(fd, zeros, piece, offset);
        offset += piece;
        count -= piece;
    }
    free(zeros);
    return r;
}
int cl_file_allocate(int fd, uint64_t offset, uint64_t count) { RETRIED(int, fallocate(fd, 0, (off_t)offset, (off_t)count)); }
int cl_file_truncate(int fd, uint64_t size) { RETRIED(int, ftruncate(fd, (off_t)size)); }
int cl_file_sync_data(int fd) { RETRIED(int, fdatasync(fd)); }
int cl_file_sync(int fd) { RETRIED(int, fsync(fd)); }
int cl_file_examine(int fd, cl_file_state *state) {
    struct stat s;
    if (fstat(fd, &s)) return -errno;
    *state = (cl_file_state){ (uint64_t)s.st_size, s.st_ino, (int64_t)s.st_mtim.tv_sec * 1000000000 + s.st_mtim.tv_nsec, S_ISREG(s.st_mode), S_ISDIR(s.st_mode) };
    return 0;
}
int cl_file_open_beneath(int directory, const char *path) {
    struct open_how how = { .flags = O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK, .resolve = RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS };
    RETRIED(int, (int)syscall(SYS_openat2, directory, path, &how, sizeof how));
}
int cl_file_examine_beneath(int directory, const char *path, cl_file_state *state) {
    struct open_how how = { .flags = O_PATH | O_CLOEXEC, .resolve = RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS };
    int fd = (int)syscall(SYS_openat2, directory, path, &how, sizeof how);
    if (fd < 0) return -errno;
    int result = cl_file_examine(fd, state);
    close(fd);
    return result;
}
int64_t cl_file_size(int fd) {
    struct stat s;
    return fstat(fd, &s) ? -errno : s.st_size;
}
int cl_file_lock(int fd) { RETRIED(int, flock(fd, LOCK_EX | LOCK_NB)); }

int cl_make_directory(const char *path, unsigned mode) { return mkdir(path, mode) ? -errno : 0; }
int cl_rename(const char *from, const char *to) { return rename(from, to) ? -errno : 0; }
int cl_unlink(const char *path) { return unlink(path) ? -errno : 0; }
int cl_list_directory(int fd, void (*body)(void *, const char *), void *context) {
    int own = openat(fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *directory = own < 0 ? 0 : fdopendir(own);
    if (!directory) {
        int error = errno;
        if (own >= 0) close(own);
        return -error;
    }
    struct dirent *entry;
    while (errno = 0, entry = readdir(directory))
        if (strcmp(entry->d_name, ".") && strcmp(entry->d_name, "..")) body(context, entry->d_name);
    int error = errno;
    closedir(directory);
    return -error;
}
int cl_volume(const char *path, uint64_t *size, uint64_t *available) {
    struct statvfs v;
    if (statvfs(path, &v)) return -errno;
    *size = v.f_blocks * (uint64_t)v.f_frsize;
    *available = v.f_bavail * (uint64_t)v.f_frsize;
    return 0;
}
int cl_process_id(void) { return getpid(); }
void cl_name_thread(const char *name) { pthread_setname_np(pthread_self(), name); }

// 0: not raised; 1: raised; 2: not raised, and a thread sleeps.
void cl_signal_raise(uint32_t *word) {
    if (__atomic_exchange_n(word, 1, __ATOMIC_ACQ_REL) == 2) syscall(SYS_futex, word, FUTEX_WAKE_PRIVATE, 1, 0, 0, 0);
}
int cl_signal_wait(uint32_t *word, int64_t timeout_ns) {
    int64_t end = timeout_ns < 0 ? 0 : cl_monotonic_ns() + timeout_ns;
    for (;;) {
        uint32_t was = 1;
        if (__atomic_compare_exchange_n(word, &was, 0, 0, __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE)) return 1;
        if (was == 0 && !__atomic_compare_exchange_n(word, &was, 2, 0, __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE)) continue;
        int64_t left = timeout_ns < 0 ? 0 : end - cl_monotonic_ns();
        if (timeout_ns >= 0 && left <= 0) return __atomic_exchange_n(word, 0, __ATOMIC_ACQ_REL) == 1;
        struct timespec t = {left / 1000000000, left % 1000000000};
        syscall(SYS_futex, word, FUTEX_WAIT_PRIVATE, 2, timeout_ns < 0 ? 0 : &t, 0, 0);
    }
}
