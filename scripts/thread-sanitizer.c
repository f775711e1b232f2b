// The contended path of Synchronization's Mutex is in the toolchain's library, which is not instrumented: the thread sanitizer sees
// two threads in `withLock` and no lock. Preloaded, this stands before that path and tells it.
#include <dlfcn.h>
#include <stdint.h>
#include <stdlib.h>

#define SWIFT __attribute__((swiftcall))
#define HANDLE __attribute__((swift_context)) void *handle
#define LOCK "$s15Synchronization12_MutexHandleV9_lockSlowyys6UInt32VF"
#define UNLOCK "$s15Synchronization12_MutexHandleV11_unlockSlowyyF"

// They are in an executable that is watched and in no other.
__attribute__((weak)) void __tsan_acquire(void *);
__attribute__((weak)) void __tsan_release(void *);

static void *next(const char *name) {
    void *found = dlsym(RTLD_NEXT, name);
    if (!found) abort();
    return found;
}

SWIFT void lock_slow(uint32_t thread, HANDLE) __asm__(LOCK);
SWIFT void lock_slow(uint32_t thread, HANDLE) {
    static SWIFT void (*_Atomic original)(uint32_t, HANDLE);
    if (!original) original = next(LOCK);
    original(thread, handle);
    if (__tsan_acquire) __tsan_acquire(handle);
}

SWIFT void unlock_slow(HANDLE) __asm__(UNLOCK);
SWIFT void unlock_slow(HANDLE) {
    static SWIFT void (*_Atomic original)(HANDLE);
    if (!original) original = next(UNLOCK);
    if (__tsan_release) __tsan_release(handle);
    original(handle);
}
