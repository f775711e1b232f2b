// What Swift cannot say of Linux: epoll's packed event, variadic calls, struct layouts. Shims, no logic.
// Every call that can fail answers -errno instead of -1, so that no caller reads errno after the fact.
#pragma once
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <stdlib.h>

typedef struct { uint32_t events; uint64_t data; } __attribute__((packed)) cl_event;

enum { CL_READABLE = 0x001, CL_WRITABLE = 0x004, CL_ERROR = 0x008, CL_HANGUP = 0x010, CL_PEER_CLOSED = 0x2000 };
enum { CL_ADD = 1, CL_REMOVE = 2, CL_MODIFY = 3 };
enum { CL_EAGAIN = 11, CL_EINTR = 4, CL_EMFILE = 24, CL_ENFILE = 23, CL_EINPROGRESS = 115, CL_EADDRINUSE = 98, CL_EACCES = 13,
       CL_ECONNRESET = 104, CL_EPIPE = 32, CL_ECONNREFUSED = 111, CL_ENOENT = 2, CL_ENOBUFS = 105, CL_EMSGSIZE = 90, CL_EBADF = 9 };

int cl_epoll_create(void);
int cl_epoll_control(int epoll, int operation, int fd, uint32_t events, uint64_t data);
int cl_epoll_wait(int epoll, cl_event *events, int capacity, int64_t timeout_ns);  // < 0 waits for ever
int cl_has_peer_ended(int fd);
int cl_eventfd(void);
void cl_eventfd_signal(int fd);

// Addresses: `family` 4, 6 or 1 (Unix); `bytes` the address in network order or the path; a path that starts with NUL is abstract.
typedef struct { uint8_t family; uint16_t port; uint32_t scope; uint8_t length; uint8_t bytes[108]; } cl_address;
int cl_socket(int family, int type);                    // non-blocking, closed on exec; `family` as in cl_address
int cl_set_option(int fd, int level, int name, int value);
int cl_set_linger(int fd, int seconds);                 // 0: closing resets the connection
int cl_bind(int fd, const cl_address *address);
int cl_listen(int fd, int backlog);
int cl_connect(int fd, const cl_address *address);      // 0: connected, or under way
int cl_connect_result(int fd);                          // 0, or -errno of the finished attempt
int cl_accept(int listener, cl_address *peer);
int cl_local_address(int fd, cl_address *address);
int cl_peer_address(int fd, cl_address *address);
int cl_peer_credentials(int fd, int *process, unsigned *user, unsigned *group);  // of a Unix socket's other end
int cl_parse_address(const char *text, cl_address *address);      // "127.0.0.1", "::1": 1 if it is one
int cl_format_address(const cl_address *address, char *text, size_t capacity);
int cl_resolve(const char *name, cl_address *addresses, int capacity);  // blocks; how many, or -gai error

// TCP_INFO of a connection. Times in microseconds; of a listener, `unacked` connections wait of at most `sacked`.
typedef struct {
    uint8_t state, retransmits;
    uint32_t rtt, rtt_variance, rtt_min, segment, window, slow_start, unacked, sacked, lost, retransmitted, unsent, receive_space;
    uint64_t acknowledged, received, delivery_rate;
} cl_tcp_state;
int cl_tcp_info(int fd, cl_tcp_state *state);
int cl_unacknowledged(int fd);                          // bytes, and a FIN, that the peer's kernel has not confirmed; -errno
int64_t cl_dropped(int fd);                             // what the kernel threw away because this socket's queue was full; -errno
long cl_read(int fd, void *bytes, size_t count);
long cl_write(int fd, const void *bytes, size_t count);
long cl_send_file(int fd, int file, uint64_t offset, size_t count);  // bytes of a file to a socket, without this process seeing them
int cl_shutdown_write(int fd);
void cl_close(int fd);
int cl_unlink_socket(const char *path);                 // removes a socket file; refuses any other kind of file
int cl_open_spare(void);                                // /dev/null, the descriptor given up when none are left

int64_t cl_monotonic_ns(void);
int64_t cl_monotonic_rough_ns(void);                    // up to some milliseconds behind, for a few instructions
int64_t cl_wall_ns(void);
void *cl_reserve(size_t count);                         // address space that costs memory only where it is touched
void cl_release(void *base, size_t count);
int cl_thread(void (*body)(void *), void *argument, uint64_t *thread);
void cl_join(uint64_t thread);
uintptr_t cl_current_task(void);                        // which Swift task runs on this thread; 0: none
void cl_detach(uint64_t thread);                        // nobody will join it
uint64_t cl_thread_id(void);
// So many turns of waiting that leave the core's other thread in peace, each some ten nanoseconds or more.
static inline void cl_relax(int turns) {
    for (int turn = 0; turn < turns; turn++) {
#if defined(__x86_64__)
        __builtin_ia32_pause();
#elif defined(__aarch64__)
        __asm__ volatile("isb" ::: "memory");
#endif
    }
}
static inline void cl_prefetch(const void *address) { __builtin_prefetch(address); }
uint64_t cl_heap_in_use(void);                        // bytes that malloc has given out
int cl_cpu_count(void);                                 // of this process's affinity mask
int cl_raise_file_limit(void);                          // soft to hard; the limit, or -errno
void cl_ignore_sigpipe(void);
void cl_block_termination(void);                        // SIGINT and SIGTERM, for this thread and those it starts
int cl_wait_termination(void);                          // the next of them
void cl_block_hangup(void);                             // SIGHUP, likewise
void cl_wait_hangup(void);
long cl_write_all(int fd, const void *bytes, size_t count);  // blocking: for stdout and stderr
int cl_open_file(const char *path);                     // for reading
long cl_read_file(int fd, int stop, void *bytes, size_t count);  // blocking; 0 at the end, and when the eventfd `stop` was signalled
long cl_write_now(int fd, const void *bytes, size_t count);  // one write, or -EAGAIN instead of waiting for a reader
int cl_is_terminal(int fd);
int cl_terminal_keys(int fd, int on);                    // each key as it is pressed, unseen; off: as it was before. 0 or -errno
int cl_writable_directory(const char *path);            // makes it if need be; 0 or -errno
const char *cl_error_text(int error);
const char *cl_environment(int index);                  // "NAME=VALUE", or NULL after the last; ask in order

// Datagrams. A `name` is a socket address in the kernel's own form, so that an answer needs no conversion.
enum { CL_DATAGRAMS_MAX = 64 };                         // of one call
typedef struct { uint64_t name[14]; uint32_t name_length, count; } cl_datagram;  // `count` is its length, also where less fitted
typedef struct { const void *bytes, *name; uint32_t count, name_length; } cl_outgoing_datagram;
int cl_receive_datagrams(int fd, void *bytes, size_t stride, size_t capacity, cl_datagram *datagrams, int count);  // does not wait
int cl_send_datagrams(int fd, const cl_outgoing_datagram *datagrams, int count);  // does not wait; how many the kernel took
long cl_receive_datagram(int fd, void *bytes, size_t capacity, cl_datagram *datagram);  // waits if `fd` does
long cl_send_datagram(int fd, const void *bytes, size_t count, const void *name, uint32_t name_length);
uint32_t cl_encode_address(const cl_address *address, void *storage);  // into 128 bytes; the name's length
void cl_decode_address(const void *name, uint32_t length, cl_address *address);
unsigned cl_interface_index(const char *name);          // 0: there is none
int cl_set_membership(int fd, int joins, unsigned interface, const cl_address *group, const cl_address *source);  // `source` may be NULL: any
int cl_set_multicast_interface(int fd, int family, unsigned interface);

// Plain blocking calls: for threads that may wait.
int cl_set_blocking(int fd, int blocking);
int cl_wait_ready(int fd, int for_writing, int64_t timeout_ns);   // 1 when ready, 0 when the time is up; < 0 waits for ever
long cl_send_now(int fd, const void *bytes, size_t count);        // as cl_write, and never waits
int cl_shutdown(int fd, int how);                       // 0 reading, 2 both: ends the waits of other threads in recv, send and accept
int cl_set_send_timeout(int fd, int64_t ns);
int cl_thread_detached(void (*body)(void *), void *argument, size_t stack);
void cl_sleep_ns(int64_t ns);

// Child processes, and what /proc says of them.
int cl_spawn(char *const *arguments, int *error_pipe);  // the process; it dies with its parent, its stderr is the pipe
int cl_kill(int process, int signal);
int cl_wait_child(int process, int blocks, int *status);  // 1: ended, with its exit code, or 128 and the signal; 0: it runs
long cl_read_pipe(int fd, void *bytes, size_t count);
int64_t cl_process_cpu_ns(int process);                 // of all its threads
long cl_read_small_file(const char *path, void *bytes, size_t capacity);
int cl_write_file(const char *path, const void *bytes, size_t count);  // made anew
long cl_list_numbers(const char *path, int *numbers, size_t capacity);  // names of a directory that are numbers: how many there are

// CRC-32C (RFC 3720 B.4) of what came before, whose checksum is `crc` (0: nothing), and of `bytes`.
uint32_t cl_crc32c(uint32_t crc, const void *bytes, size_t count);
uint32_t cl_crc32c_by_table(uint32_t crc, const void *bytes, size_t count);  // the same, where the processor has no instruction for it

// Files: blocking, never interrupted, -errno for a failure.
enum { CL_FILE_WRITE = 1, CL_FILE_MAKE = 2, CL_FILE_EXCLUSIVE = 4, CL_FILE_DIRECTORY = 8 };
int cl_file_open(const char *path, int flags, unsigned mode);  // for reading, if it is not for both; closed on exec
long cl_file_read(int fd, void *bytes, size_t count, uint64_t offset);  // fewer only at the end of the file
int cl_file_write(int fd, const void *bytes, size_t count, uint64_t offset);  // all of it
int cl_file_write_zeros(int fd, uint64_t offset, uint64_t count);
int cl_file_allocate(int fd, uint64_t offset, uint64_t count);
int cl_file_truncate(int fd, uint64_t size);
int cl_file_sync_data(int fd);
int cl_file_sync(int fd);
int64_t cl_file_size(int fd);
typedef struct { uint64_t size, inode; int64_t modified_ns; int is_file, is_directory; } cl_file_state;
int cl_file_examine(int fd, cl_file_state *state);
int cl_file_open_beneath(int directory, const char *path);  // for reading; -EXDEV if the way leads out of the directory
int cl_file_examine_beneath(int directory, const char *path, cl_file_state *state);  // the same, without opening what may block
int cl_file_lock(int fd);                               // exclusive, until the descriptor is closed everywhere; -EAGAIN: another has it
int cl_make_directory(const char *path, unsigned mode);
int cl_rename(const char *from, const char *to);
int cl_unlink(const char *path);
int cl_list_directory(int fd, void (*body)(void *context, const char *name), void *context);  // without . and ..
int cl_volume(const char *path, uint64_t *size, uint64_t *available);  // bytes; available to this user
int cl_process_id(void);

// Threads that wait for one another: a word that is 0 at first, and one thread that waits for it.
void cl_name_thread(const char *name);                  // this thread, at most 15 bytes
void cl_signal_raise(uint32_t *word);                   // costs a system call only when the other sleeps
int cl_signal_wait(uint32_t *word, int64_t timeout_ns);  // 1: raised since it was last waited for, 0: the time is up; < 0 waits for ever
