// A disk that loses what was not synced, for one process: LD_PRELOAD=lost_writes.so LOST_WRITES=DIRECTORY program
//
// The process believes that it works in DIRECTORY (an absolute path, which exists). What it writes stays in its own memory until fsync or fdatasync of the
// file, and dies with it, however it ends; its own reads see it. Names are held back too: the process works in DIRECTORY.volatile, a copy made of hard links
// when it starts, and DIRECTORY gets the names of a folder at fsync of that folder. So a file that was created or renamed, and whose folder was not synced,
// is not there after a kill, and one that was unlinked is there again. That is the least POSIX promises; most file systems keep more.
//
//   LOST_WRITES_CONTROL=FD   a socket on which the test commands, a byte each, answered with the same byte when it is done (t: and its seed, 8 bytes):
//                              t  the power fails: an arbitrary part of what is held back is written, as a disk reorders and tears (sectors of 512 bytes
//                                 are whole); no call about the directory returns any more. Then the test kills.
//                              f  the disk is full: what makes a file longer fails with ENOSPC        g  there is space again
//   LOST_WRITES_DELAY=US     every sync takes so many microseconds
//   LOST_WRITES_SYNC=1       synced bytes are really synced (by default they go to the page cache, which survives a kill)
//
// Not seen: stdio (fopen), raw system calls, duplicated descriptors, sync and syncfs. Writable shared mappings, and mappings of files with held-back bytes, end the process.
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <unistd.h>

enum { WRITE, TRUNCATE, ALLOCATE };
enum { DESCRIPTORS = 1 << 20, SECTOR = 512 };

struct operation {
  int kind, mode;
  off_t offset, length;
  struct operation *next;
  char bytes[];
};

// A file by its inode. `own` keeps the inode from being used again while something is held back.
struct file {
  dev_t device;
  ino_t inode;
  int own, opened;
  off_t size;
  struct operation *first, **last;
  struct file *next;
};

static char durable[PATH_MAX - 300], seen[PATH_MAX - 300];
static size_t durable_length, seen_length;
static int active, control = -1, really, is_full;
static unsigned delay;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct file *files, *of[DESCRIPTORS];
static int writes_through[DESCRIPTORS / 32];

static void fail(const char *what) {
  dprintf(2, "lost_writes: %s: %s\n", what, strerror(errno));
  abort();
}

// MARK: The calls beneath

static int under_open(const char *path, int flags, mode_t mode) { return syscall(SYS_openat, AT_FDCWD, path, flags, mode); }
static int under_close(int fd) { return syscall(SYS_close, fd); }
static int under_stat(const char *path, struct stat *s) { return syscall(SYS_newfstatat, AT_FDCWD, path, s, AT_SYMLINK_NOFOLLOW); }

static void under_pwrite(int fd, const char *bytes, size_t count, off_t offset) {
  while (count) {
    ssize_t n = syscall(SYS_pwrite64, fd, bytes, count, offset);
    if (n < 0 && errno != EINTR) fail("writing held-back bytes");
    if (n > 0) bytes += n, count -= n, offset += n;
  }
}

static DIR *under_opendir(const char *path) {
  int fd = under_open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC, 0);
  return fd < 0 ? NULL : fdopendir(fd);
}

static void remove_tree(const char *path) {
  DIR *folder = under_opendir(path);
  for (struct dirent *e; folder && (e = readdir(folder));) {
    char child[PATH_MAX];
    if (!strcmp(e->d_name, ".") || !strcmp(e->d_name, "..")) continue;
    snprintf(child, sizeof child, "%s/%s", path, e->d_name);
    remove_tree(child);
  }
  if (folder) closedir(folder);
  if (syscall(SYS_unlinkat, AT_FDCWD, path, 0) && (errno == EISDIR || errno == EPERM)) syscall(SYS_unlinkat, AT_FDCWD, path, AT_REMOVEDIR);
}

// MARK: Names

// The path below the volatile directory, if it is in ours.
static const char *redirected(const char *path, char *buffer) {
  char whole[PATH_MAX];
  if (!active || !path) return path;
  if (path[0] != '/') {
    if (syscall(SYS_getcwd, whole, sizeof whole) < 0) return path;
    size_t n = strlen(whole);
    if (path[0] == '.' && path[1] == '/') path += 2;
    if (n + strlen(path) + 2 > sizeof whole) return path;
    sprintf(whole + n, "/%s", path);
    if (strncmp(whole, durable, durable_length)) return path;
  } else {
    if (strlen(path) >= sizeof whole) return path;
    strcpy(whole, path);
  }
  if (strncmp(whole, durable, durable_length) || (whole[durable_length] && whole[durable_length] != '/')) return path;
  if (snprintf(buffer, PATH_MAX, "%s%s", seen, whole + durable_length) >= PATH_MAX) return path;
  return buffer;
}

static int is_absolute(const char *path) { return path && path[0] == '/'; }

#define REDIRECT_AT(folder, path) \
  char path##_buffer[PATH_MAX]; \
  if (folder == AT_FDCWD || is_absolute(path)) path = redirected(path, path##_buffer)
#define REDIRECT(path) REDIRECT_AT(AT_FDCWD, path)

// Folders that were synced before the one they are in.
static char *early[256];
static int early_count;

// Makes the names of `to` those of `from`, by links. A folder below gets its name only, unless `whole`: its own names come with its own sync.
static void copy_names(const char *from, const char *to, int whole) {
  struct dirent *e;
  char one[PATH_MAX], other[PATH_MAX], between[PATH_MAX];
  struct stat a, b;
  DIR *folder = under_opendir(from);
  if (!folder) fail(from);
  while ((e = readdir(folder))) {
    if (!strcmp(e->d_name, ".") || !strcmp(e->d_name, "..")) continue;
    snprintf(one, sizeof one, "%s/%s", from, e->d_name);
    snprintf(other, sizeof other, "%s/%s", to, e->d_name);
    if (under_stat(one, &a)) continue;
    int there = under_stat(other, &b) == 0;
    if (S_ISDIR(a.st_mode)) {
      int synced = whole;
      for (int i = 0; i < early_count && !there; i++) synced |= !strcmp(early[i], one);
      if (!there && syscall(SYS_mkdirat, AT_FDCWD, other, a.st_mode & 07777)) fail(other);
      if (synced) copy_names(one, other, whole);
    } else if (!there || a.st_ino != b.st_ino) {
      snprintf(between, sizeof between, "%s/.lost_writes", to);
      if (syscall(SYS_linkat, AT_FDCWD, one, AT_FDCWD, between, 0)) fail(one);
      if (syscall(SYS_renameat, AT_FDCWD, between, AT_FDCWD, other)) fail(other);
    }
  }
  closedir(folder);
  if (!(folder = under_opendir(to))) fail(to);
  while ((e = readdir(folder))) {
    snprintf(one, sizeof one, "%s/%s", from, e->d_name);
    snprintf(other, sizeof other, "%s/%s", to, e->d_name);
    if (strcmp(e->d_name, ".") && strcmp(e->d_name, "..") && under_stat(one, &a)) remove_tree(other);
  }
  closedir(folder);
}

// Where the folder a descriptor is open on lies durably; nil if it is not in ours.
static int durable_folder(int fd, char *from, char *to) {
  char link[64];
  snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
  ssize_t n = syscall(SYS_readlinkat, AT_FDCWD, link, from, PATH_MAX - 1);
  if (n < 0) return 0;
  from[n] = 0;
  if (strncmp(from, seen, seen_length) || (from[seen_length] && from[seen_length] != '/')) return 0;
  return snprintf(to, PATH_MAX, "%s%s", durable, from + seen_length) < PATH_MAX;
}

static void sync_folder(int fd) {
  char from[PATH_MAX], to[PATH_MAX];
  struct stat s;
  if (!durable_folder(fd, from, to)) return;
  if (under_stat(to, &s) == 0) copy_names(from, to, 0);
  else if (early_count < 256) early[early_count++] = strdup(from);
}

// MARK: Bytes

static struct file *file_of(int fd) { return active && fd >= 0 && fd < DESCRIPTORS ? of[fd] : NULL; }

static void forget_if_idle(struct file *f) {
  struct stat s;
  if (f->opened) return;
  if (f->first && syscall(SYS_fstat, f->own, &s) == 0 && s.st_nlink) return;
  for (struct operation *o = f->first, *n; o; o = n) n = o->next, free(o);
  under_close(f->own);
  for (struct file **at = &files; *at; at = &(*at)->next)
    if (*at == f) {
      *at = f->next;
      break;
    }
  free(f);
}

static void track(int fd, int flags) {
  struct stat s;
  if (fd < 0 || fd >= DESCRIPTORS || syscall(SYS_fstat, fd, &s) || !S_ISREG(s.st_mode)) return;
  struct file *f = files;
  while (f && (f->inode != s.st_ino || f->device != s.st_dev)) f = f->next;
  if (!f) {
    char link[64];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    if (!(f = calloc(1, sizeof *f))) fail("memory");
    *f = (struct file){.device = s.st_dev, .inode = s.st_ino, .size = s.st_size, .next = files};
    f->last = &f->first;
    f->own = under_open(link, O_RDWR | O_CLOEXEC, 0);
    if (f->own < 0) f->own = under_open(link, O_RDONLY | O_CLOEXEC, 0);
    if (f->own < 0) fail("opening a file again");
    files = f;
  }
  f->opened++;
  of[fd] = f;
  writes_through[fd / 32] &= ~(1u << fd % 32);
  if (flags & (O_SYNC | O_DSYNC) & ~O_DIRECT) writes_through[fd / 32] |= 1u << fd % 32;
}

static void hold(struct file *f, int kind, int mode, off_t offset, off_t length, const void *bytes) {
  struct operation *o = malloc(sizeof *o + (bytes ? length : 0));
  if (!o) fail("memory");
  *o = (struct operation){.kind = kind, .mode = mode, .offset = offset, .length = length};
  if (bytes) memcpy(o->bytes, bytes, length);
  *f->last = o;
  f->last = &o->next;
  off_t end = offset + length;
  if (kind == TRUNCATE) f->size = offset;
  else if (end > f->size && !(mode & FALLOC_FL_KEEP_SIZE)) f->size = end;
}

static void perform(struct file *f, struct operation *o) {
  if (o->kind == WRITE) under_pwrite(f->own, o->bytes, o->length, o->offset);
  else if (o->kind == TRUNCATE ? syscall(SYS_ftruncate, f->own, o->offset) : syscall(SYS_fallocate, f->own, o->mode, o->offset, o->length)) fail("resizing");
}

static void flush(struct file *f) {
  for (struct operation *o = f->first, *n; o; o = n) {
    n = o->next;
    perform(f, o);
    free(o);
  }
  f->first = NULL;
  f->last = &f->first;
}

static ssize_t held_read(struct file *f, int fd, char *to, size_t count, off_t offset) {
  if (offset >= f->size || !count) return 0;
  if ((off_t)count > f->size - offset) count = f->size - offset;
  if (!f->first) return syscall(SYS_pread64, fd, to, count, offset);
  memset(to, 0, count);
  for (size_t got = 0; got < count;) {
    ssize_t n = syscall(SYS_pread64, f->own, to + got, count - got, offset + got);
    if (n < 0 && errno != EINTR) return -1;
    if (n == 0) break;
    if (n > 0) got += n;
  }
  off_t end = offset + count;
  for (struct operation *o = f->first; o; o = o->next) {
    off_t from = o->offset > offset ? o->offset : offset, until = o->kind == TRUNCATE ? end : o->offset + o->length;
    if (until > end) until = end;
    if (from >= until || o->kind == ALLOCATE) continue;
    if (o->kind == WRITE) memcpy(to + (from - offset), o->bytes + (from - o->offset), until - from);
    else memset(to + (from - offset), 0, until - from);
  }
  return count;
}

static ssize_t held_write(struct file *f, int fd, const void *bytes, size_t count, off_t offset) {
  if ((syscall(SYS_fcntl, fd, F_GETFL) & O_ACCMODE) == O_RDONLY) return errno = EBADF, -1;
  if (is_full && offset + (off_t)count > f->size) return errno = ENOSPC, -1;
  hold(f, WRITE, 0, offset, count, bytes);
  if (writes_through[fd / 32] & 1u << fd % 32) flush(f);
  return count;
}

// MARK: The power fails

static uint64_t chance;
static unsigned draw(unsigned below) {  // splitmix64
  uint64_t z = chance += 0x9E3779B97F4A7C15;
  z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9;
  z = (z ^ z >> 27) * 0x94D049BB133111EB;
  return (z ^ z >> 31) % below;
}

static void tear(struct file *f) {
  unsigned mode = draw(4), odds = 1 + draw(9), cut = 0, count = 0;
  for (struct operation *o = f->first; o; o = o->next) count++;
  if (count) cut = draw(count + 1);
  for (struct operation *o = f->first; o; o = o->next, cut -= cut > 0) {
    if (mode == 0) return;                       // nothing at all
    if (mode == 1 && cut > 0) perform(f, o);     // the first ones
    if (mode == 2 && draw(10) < odds) perform(f, o);  // some of them
    if (mode != 3) continue;
    if (o->kind != WRITE) {
      if (draw(10) < odds) perform(f, o);
      continue;
    }
    for (off_t at = 0, n; at < o->length; at += n) {  // some sectors
      n = SECTOR - (o->offset + at) % SECTOR;
      if (n > o->length - at) n = o->length - at;
      if (draw(10) < odds) under_pwrite(f->own, o->bytes + at, n, o->offset + at);
    }
  }
}

static void *obey(void *nothing) {
  char command;
  while (syscall(SYS_read, control, &command, 1) == 1) {
    pthread_mutex_lock(&lock);
    if (command == 'f' || command == 'g') is_full = command == 'f';
    if (command == 't') {
      char *at = (char *)&chance;
      for (ssize_t got = 0, n; got < (ssize_t)sizeof chance; got += n)
        if ((n = syscall(SYS_read, control, at + got, sizeof chance - got)) <= 0) fail("no seed");
      int names = draw(2);
      for (struct file *f = files; f; f = f->next) tear(f);
      if (names) copy_names(seen, durable, 1);
    }
    if (command != 't') pthread_mutex_unlock(&lock);
    if (syscall(SYS_write, control, &command, 1) != 1) break;
  }
  return nothing;
}

__attribute__((constructor)) static void begin(void) {
  const char *directory = getenv("LOST_WRITES"), *value;
  pthread_t thread;
  struct stat s;
  if (!directory) return;
  if (!realpath(directory, durable) || under_stat(durable, &s) || !S_ISDIR(s.st_mode)) fail("LOST_WRITES is no directory");
  durable_length = strlen(durable);
  seen_length = snprintf(seen, sizeof seen, "%s.volatile", durable);
  if ((value = getenv("LOST_WRITES_CONTROL"))) control = atoi(value);
  if ((value = getenv("LOST_WRITES_DELAY"))) delay = atoi(value);
  if ((value = getenv("LOST_WRITES_SYNC"))) really = atoi(value);
  unsetenv("LD_PRELOAD");  // for programs that this one starts
  unsetenv("LOST_WRITES");
  remove_tree(seen);
  if (syscall(SYS_mkdirat, AT_FDCWD, seen, s.st_mode & 07777)) fail(seen);
  copy_names(durable, seen, 1);
  active = 1;
  if (control >= 0 && pthread_create(&thread, NULL, obey, NULL)) fail("starting a thread");
}

// MARK: What the process calls

static int open_at(int folder, const char *path, int flags, mode_t mode) {
  char buffer[PATH_MAX];
  const char *there = folder == AT_FDCWD || (path && path[0] == '/') ? redirected(path, buffer) : path;
  int truncates = active && (flags & O_TRUNC);
  char from[PATH_MAX], to[PATH_MAX];
  int fd = syscall(SYS_openat, folder, there, active && there == buffer ? flags & ~(O_TRUNC | O_DIRECT) : flags, mode);
  if (!active || fd < 0 || !durable_folder(fd, from, to)) return fd;
  pthread_mutex_lock(&lock);
  track(fd, flags);
  if (truncates && file_of(fd) && of[fd]->size) hold(of[fd], TRUNCATE, 0, 0, 0, NULL);
  pthread_mutex_unlock(&lock);
  return fd;
}

static mode_t mode_of(int flags, va_list more) { return flags & O_CREAT || (flags & O_TMPFILE) == O_TMPFILE ? va_arg(more, mode_t) : 0; }

#define OPEN(name, parameters, folder) \
  int name parameters { \
    va_list more; \
    va_start(more, flags); \
    mode_t mode = mode_of(flags, more); \
    va_end(more); \
    return open_at(folder, path, flags, mode); \
  }
OPEN(open, (const char *path, int flags, ...), AT_FDCWD)
OPEN(open64, (const char *path, int flags, ...), AT_FDCWD)
OPEN(openat, (int folder, const char *path, int flags, ...), folder)
OPEN(openat64, (int folder, const char *path, int flags, ...), folder)
int creat(const char *path, mode_t mode) { return open_at(AT_FDCWD, path, O_CREAT | O_WRONLY | O_TRUNC, mode); }
int creat64(const char *path, mode_t mode) { return creat(path, mode); }

DIR *opendir(const char *path) {
  REDIRECT(path);
  return under_opendir(path);
}

int close(int fd) {
  struct file *f = file_of(fd);
  if (f) {
    pthread_mutex_lock(&lock);
    of[fd] = NULL;
    f->opened--;
    forget_if_idle(f);
    pthread_mutex_unlock(&lock);
  }
  return under_close(fd);
}

#define HELD(call) \
  ({ \
    pthread_mutex_lock(&lock); \
    ssize_t result = call; \
    pthread_mutex_unlock(&lock); \
    result; \
  })

ssize_t pwrite(int fd, const void *bytes, size_t count, off_t offset) {
  struct file *f = file_of(fd);
  return f ? HELD(held_write(f, fd, bytes, count, offset)) : syscall(SYS_pwrite64, fd, bytes, count, offset);
}
ssize_t pwrite64(int fd, const void *bytes, size_t count, off_t offset) { return pwrite(fd, bytes, count, offset); }

ssize_t pread(int fd, void *bytes, size_t count, off_t offset) {
  struct file *f = file_of(fd);
  return f ? HELD(held_read(f, fd, bytes, count, offset)) : syscall(SYS_pread64, fd, bytes, count, offset);
}
ssize_t pread64(int fd, void *bytes, size_t count, off_t offset) { return pread(fd, bytes, count, offset); }

ssize_t write(int fd, const void *bytes, size_t count) {
  struct file *f = file_of(fd);
  if (!f) return syscall(SYS_write, fd, bytes, count);
  pthread_mutex_lock(&lock);
  off_t at = syscall(SYS_fcntl, fd, F_GETFL) & O_APPEND ? f->size : syscall(SYS_lseek, fd, 0, SEEK_CUR);
  ssize_t n = held_write(f, fd, bytes, count, at);
  if (n > 0) syscall(SYS_lseek, fd, at + n, SEEK_SET);
  pthread_mutex_unlock(&lock);
  return n;
}

ssize_t read(int fd, void *bytes, size_t count) {
  struct file *f = file_of(fd);
  if (!f) return syscall(SYS_read, fd, bytes, count);
  pthread_mutex_lock(&lock);
  off_t at = syscall(SYS_lseek, fd, 0, SEEK_CUR);
  ssize_t n = held_read(f, fd, bytes, count, at);
  if (n > 0) syscall(SYS_lseek, fd, at + n, SEEK_SET);
  pthread_mutex_unlock(&lock);
  return n;
}

// One piece after the other; the first that is short ends it.
#define PIECES(call) \
  ssize_t all = 0; \
  for (int i = 0; i < count; i++) { \
    ssize_t n = call; \
    if (n < 0) return all ? all : n; \
    all += n; \
    if ((size_t)n < pieces[i].iov_len) break; \
  } \
  return all;
ssize_t writev(int fd, const struct iovec *pieces, int count) {
  if (!file_of(fd)) return syscall(SYS_writev, fd, pieces, count);
  PIECES(write(fd, pieces[i].iov_base, pieces[i].iov_len))
}
ssize_t readv(int fd, const struct iovec *pieces, int count) {
  if (!file_of(fd)) return syscall(SYS_readv, fd, pieces, count);
  PIECES(read(fd, pieces[i].iov_base, pieces[i].iov_len))
}
ssize_t pwritev(int fd, const struct iovec *pieces, int count, off_t offset) {
  if (!file_of(fd)) return syscall(SYS_pwritev, fd, pieces, count, offset, 0);
  PIECES(pwrite(fd, pieces[i].iov_base, pieces[i].iov_len, offset + all))
}
ssize_t preadv(int fd, const struct iovec *pieces, int count, off_t offset) {
  if (!file_of(fd)) return syscall(SYS_preadv, fd, pieces, count, offset, 0);
  PIECES(pread(fd, pieces[i].iov_base, pieces[i].iov_len, offset + all))
}
ssize_t pwritev64(int fd, const struct iovec *pieces, int count, off_t offset) { return pwritev(fd, pieces, count, offset); }
ssize_t preadv64(int fd, const struct iovec *pieces, int count, off_t offset) { return preadv(fd, pieces, count, offset); }
ssize_t pwritev2(int fd, const struct iovec *pieces, int count, off_t offset, int flags) {
  if (!file_of(fd)) return syscall(SYS_pwritev2, fd, pieces, count, offset, 0, flags);
  ssize_t n = offset == -1 ? writev(fd, pieces, count) : pwritev(fd, pieces, count, offset);
  return n < 0 || !(flags & (RWF_SYNC | RWF_DSYNC)) ? n : fsync(fd) ? -1 : n;
}
ssize_t preadv2(int fd, const struct iovec *pieces, int count, off_t offset, int flags) {
  if (!file_of(fd)) return syscall(SYS_preadv2, fd, pieces, count, offset, 0, flags);
  return offset == -1 ? readv(fd, pieces, count) : preadv(fd, pieces, count, offset);
}
ssize_t pwritev64v2(int fd, const struct iovec *pieces, int count, off_t offset, int flags) { return pwritev2(fd, pieces, count, offset, flags); }
ssize_t preadv64v2(int fd, const struct iovec *pieces, int count, off_t offset, int flags) { return preadv2(fd, pieces, count, offset, flags); }

off_t lseek(int fd, off_t offset, int from) {
  struct file *f = file_of(fd);
  return f && from == SEEK_END ? syscall(SYS_lseek, fd, f->size + offset, SEEK_SET) : syscall(SYS_lseek, fd, offset, from);
}
off_t lseek64(int fd, off_t offset, int from) { return lseek(fd, offset, from); }

int fsync(int fd) {
  struct file *f = file_of(fd);
  if (!active) return syscall(SYS_fsync, fd);
  if (delay) usleep(delay);
  pthread_mutex_lock(&lock);
  if (f) flush(f);
  else sync_folder(fd);
  pthread_mutex_unlock(&lock);
  return really ? syscall(SYS_fsync, fd) : 0;
}
int fdatasync(int fd) { return fsync(fd); }
int sync_file_range(int fd, off64_t offset, off64_t count, unsigned flags) {
  return file_of(fd) ? 0 : syscall(SYS_sync_file_range, fd, offset, count, flags);  // it promises nothing about metadata and caches
}

int ftruncate(int fd, off_t size) {
  struct file *f = file_of(fd);
  if (!f) return syscall(SYS_ftruncate, fd, size);
  if (is_full && size > f->size) return errno = ENOSPC, -1;
  pthread_mutex_lock(&lock);
  hold(f, TRUNCATE, 0, size, 0, NULL);
  pthread_mutex_unlock(&lock);
  return 0;
}
int ftruncate64(int fd, off_t size) { return ftruncate(fd, size); }

int fallocate(int fd, int mode, off_t offset, off_t length) {
  struct file *f = file_of(fd);
  if (!f) return syscall(SYS_fallocate, fd, mode, offset, length);
  if (mode & ~FALLOC_FL_KEEP_SIZE) return errno = EOPNOTSUPP, -1;
  if (is_full) return errno = ENOSPC, -1;
  pthread_mutex_lock(&lock);
  hold(f, ALLOCATE, mode, offset, length, NULL);
  pthread_mutex_unlock(&lock);
  return 0;
}
int fallocate64(int fd, int mode, off_t offset, off_t length) { return fallocate(fd, mode, offset, length); }
int posix_fallocate(int fd, off_t offset, off_t length) { return fallocate(fd, 0, offset, length) ? errno : 0; }
int posix_fallocate64(int fd, off_t offset, off_t length) { return posix_fallocate(fd, offset, length); }

void *mmap(void *at, size_t length, int protection, int flags, int fd, off_t offset) {
  struct file *f = flags & MAP_ANONYMOUS ? NULL : file_of(fd);
  if (f && ((flags & MAP_SHARED && protection & PROT_WRITE) || f->first)) {
    errno = ENOTSUP;
    fail("a mapping of a file whose bytes are held back");
  }
  return (void *)syscall(SYS_mmap, at, length, protection, flags, fd, offset);
}
void *mmap64(void *at, size_t length, int protection, int flags, int fd, off_t offset) { return mmap(at, length, protection, flags, fd, offset); }

ssize_t copy_file_range(int in, off_t *from, int out, off_t *to, size_t count, unsigned flags) {
  if (file_of(in) || file_of(out)) return errno = EXDEV, -1;
  return syscall(SYS_copy_file_range, in, from, out, to, count, flags);
}

static int adjusted(int result, struct stat *s) {
  if (result || !active || !S_ISREG(s->st_mode)) return result;
  pthread_mutex_lock(&lock);
  for (struct file *f = files; f; f = f->next)
    if (f->inode == s->st_ino && f->device == s->st_dev) s->st_size = f->size;
  pthread_mutex_unlock(&lock);
  return result;
}
int fstatat(int folder, const char *path, struct stat *s, int flags) {
  REDIRECT_AT(folder, path);
  return adjusted(syscall(SYS_newfstatat, folder, path, s, flags), s);
}
int fstatat64(int folder, const char *path, struct stat64 *s, int flags) { return fstatat(folder, path, (struct stat *)s, flags); }
int stat(const char *path, struct stat *s) { return fstatat(AT_FDCWD, path, s, 0); }
int stat64(const char *path, struct stat64 *s) { return stat(path, (struct stat *)s); }
int lstat(const char *path, struct stat *s) { return fstatat(AT_FDCWD, path, s, AT_SYMLINK_NOFOLLOW); }
int lstat64(const char *path, struct stat64 *s) { return lstat(path, (struct stat *)s); }
int fstat(int fd, struct stat *s) { return adjusted(syscall(SYS_fstat, fd, s), s); }
int fstat64(int fd, struct stat64 *s) { return fstat(fd, (struct stat *)s); }
int statx(int folder, const char *path, int flags, unsigned mask, struct statx *s) {
  REDIRECT_AT(folder, path);
  int result = syscall(SYS_statx, folder, path, flags, mask, s);
  struct stat plain = {.st_mode = S_IFREG};
  if (!result && active && !fstatat(folder, path, &plain, flags & (AT_EMPTY_PATH | AT_SYMLINK_NOFOLLOW))) s->stx_size = plain.st_size;
  return result;
}

// MARK: Names, in the volatile directory

int access(const char *path, int mode) {
  REDIRECT(path);
  return syscall(SYS_faccessat, AT_FDCWD, path, mode);
}
int faccessat(int folder, const char *path, int mode, int flags) {
  REDIRECT_AT(folder, path);
  return syscall(SYS_faccessat2, folder, path, mode, flags);
}
int chmod(const char *path, mode_t mode) {
  REDIRECT(path);
  return syscall(SYS_fchmodat, AT_FDCWD, path, mode);
}
int mkdirat(int folder, const char *path, mode_t mode) {
  REDIRECT_AT(folder, path);
  return syscall(SYS_mkdirat, folder, path, mode);
}
int mkdir(const char *path, mode_t mode) { return mkdirat(AT_FDCWD, path, mode); }
int unlinkat(int folder, const char *path, int flags) {
  REDIRECT_AT(folder, path);
  return syscall(SYS_unlinkat, folder, path, flags);
}
int unlink(const char *path) { return unlinkat(AT_FDCWD, path, 0); }
int rmdir(const char *path) { return unlinkat(AT_FDCWD, path, AT_REMOVEDIR); }
int renameat2(int from_folder, const char *from, int to_folder, const char *to, unsigned flags) {
  REDIRECT_AT(from_folder, from);
  REDIRECT_AT(to_folder, to);
  return syscall(SYS_renameat2, from_folder, from, to_folder, to, flags);
}
int renameat(int from_folder, const char *from, int to_folder, const char *to) { return renameat2(from_folder, from, to_folder, to, 0); }
int rename(const char *from, const char *to) { return renameat2(AT_FDCWD, from, AT_FDCWD, to, 0); }
int linkat(int from_folder, const char *from, int to_folder, const char *to, int flags) {
  REDIRECT_AT(from_folder, from);
  REDIRECT_AT(to_folder, to);
  return syscall(SYS_linkat, from_folder, from, to_folder, to, flags);
}
int link(const char *from, const char *to) { return linkat(AT_FDCWD, from, AT_FDCWD, to, 0); }

// Sockets in the directory.
static int named(long call, int fd, const struct sockaddr *address, socklen_t length) {
  struct sockaddr_un there;
  char buffer[PATH_MAX], path[sizeof there.sun_path + 1] = "";
  if (active && address->sa_family == AF_UNIX && length > sizeof address->sa_family && length <= sizeof there) {
    memcpy(path, ((const struct sockaddr_un *)address)->sun_path, length - sizeof address->sa_family);
    if (path[0] && redirected(path, buffer) == buffer) {
      if (strlen(buffer) >= sizeof there.sun_path) return errno = ENAMETOOLONG, -1;
      there.sun_family = AF_UNIX;
      strcpy(there.sun_path, buffer);
      return syscall(call, fd, &there, sizeof there);
    }
  }
  return syscall(call, fd, address, length);
}
int bind(int fd, const struct sockaddr *address, socklen_t length) { return named(SYS_bind, fd, address, length); }
int connect(int fd, const struct sockaddr *address, socklen_t length) { return named(SYS_connect, fd, address, length); }
