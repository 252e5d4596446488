/* Stands between a process and its files (LD_PRELOAD): counts calls and kills the process at one of them, or records
 * what is written, synced, created, renamed and removed below a folder. Built by disk_shim.py.
 *
 * A record: op, seq, fd, offset, length, then `length` bytes. Ops: O open (path), W write, T truncate (offset is the
 * new size), S sync (offset is the seq that stood when it began: what came before is durable), R rename (old NUL new),
 * U unlink (path), M mkdir (path), D sync of a folder (path), C close, N note (text). Or lets calls fail.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <unistd.h>

static long calls_left = -1;
static int kill_torn = 0;
static int record_fd = -1;
static uint64_t seq = 0;
static int fail_next = 0, fail_with = 0, fail_syncs_only = 0;
static char prefix[4096];
static size_t prefix_length = 0;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

struct head { uint64_t op, seq; int64_t fd, offset, length; };

void shim_kill_after(long calls, int torn) { kill_torn = torn; __atomic_store_n(&calls_left, calls, __ATOMIC_SEQ_CST); }
long shim_calls_left(void) { return __atomic_load_n(&calls_left, __ATOMIC_SEQ_CST); }

void shim_record(int fd, const char *folder) {
    record_fd = fd;
    prefix_length = strlen(folder);
    memcpy(prefix, folder, prefix_length + 1);
}

/* From now on calls that would change something below `folder` fail with `error`; 0 ends it. */
void shim_fail(const char *folder, int error, int syncs_only) {
    prefix_length = strlen(folder);
    memcpy(prefix, folder, prefix_length + 1);
    fail_syncs_only = syncs_only;
    __atomic_store_n(&fail_with, error, __ATOMIC_SEQ_CST);
}

/* The same, from the call number `calls` on. */
void shim_fail_after(long calls, const char *folder, int error) {
    shim_fail(folder, 0, 0);
    fail_next = error;
    __atomic_store_n(&calls_left, calls, __ATOMIC_SEQ_CST);
}

static void die(void) { syscall(SYS_kill, getpid(), SIGKILL); for (;;) pause(); }

/* True when this call is the one to die at and may first do half of its work. */
static int turn(int can_tear) {
    if (__atomic_load_n(&calls_left, __ATOMIC_SEQ_CST) < 0) return 0;
    if (__atomic_fetch_sub(&calls_left, 1, __ATOMIC_SEQ_CST) != 0) return 0;
    if (fail_next) {
        __atomic_store_n(&fail_with, fail_next, __ATOMIC_SEQ_CST);
        return 0;
    }
    if (kill_torn && can_tear) return 1;
    die();
    return 0;
}

static void put_locked(char op, int fd, int64_t offset, const void *data, size_t length) {
    struct head head = { (uint64_t)op, ++seq, fd, offset, (int64_t)length };
    struct iovec parts[2] = { { &head, sizeof head }, { (void *)data, length } };
    if (syscall(SYS_writev, record_fd, parts, 2) != (long)(sizeof head + length)) die();
}

static void put(char op, int fd, int64_t offset, const void *data, size_t length) {
    pthread_mutex_lock(&lock);
    put_locked(op, fd, offset, data, length);
    pthread_mutex_unlock(&lock);
}

void shim_note(const char *text) { if (record_fd >= 0) put('N', -1, 0, text, strlen(text)); }

static int below(const char *path) { return strncmp(path, prefix, prefix_length) == 0; }
static int wanted_path(const char *path) { return record_fd >= 0 && below(path); }

static int path_below(int fd, char *path) {
    char name[64] = "/proc/self/fd/";
    char digits[16]; int n = 0, at = 14, number = fd;
    if (fd < 0) return 0;
    do { digits[n++] = (char)('0' + number % 10); number /= 10; } while (number);
    while (n) name[at++] = digits[--n];
    name[at] = 0;
    long length = syscall(SYS_readlink, name, path, 4095);
    if (length <= 0) return 0;
    path[length] = 0;
    return below(path);
}

static int path_of(int fd, char *path) { return record_fd >= 0 && path_below(fd, path); }

static int fails(int fd, const char *name, int is_sync) {
    char path[4096];
    int error = __atomic_load_n(&fail_with, __ATOMIC_SEQ_CST);
    if (!error || (fail_syncs_only && !is_sync)) return 0;
    if (name ? !below(name) : !path_below(fd, path)) return 0;
    errno = error;
    return 1;
}

#define REAL(name) static __typeof__(&name) real; if (!real) real = (__typeof__(&name))dlsym(RTLD_NEXT, #name)

static ssize_t torn_write(int fd, const void *data, size_t length, off_t offset) {
    if (offset < 0) syscall(SYS_write, fd, data, length / 2);
    else syscall(SYS_pwrite64, fd, data, length / 2, offset);
    die();
    return -1;
}

static void record_write(int fd, const void *data, size_t length, off_t offset) {
    char path[4096];
    if (path_of(fd, path)) put('W', fd, offset < 0 ? lseek(fd, 0, SEEK_CUR) : offset, data, length);
}

ssize_t write(int fd, const void *data, size_t length) {
    REAL(write);
    if (turn(1)) return torn_write(fd, data, length, -1);
    if (fails(fd, 0, 0)) return -1;
    if (record_fd >= 0) record_write(fd, data, length, -1);
    return real(fd, data, length);
}

#define PWRITE(name) ssize_t name(int fd, const void *data, size_t length, off_t offset) { \
    REAL(name); \
    if (turn(1)) return torn_write(fd, data, length, offset); \
    if (fails(fd, 0, 0)) return -1; \
    if (record_fd >= 0) record_write(fd, data, length, offset); \
    return real(fd, data, length, offset); }
PWRITE(pwrite)
PWRITE(pwrite64)

ssize_t writev(int fd, const struct iovec *parts, int count) {
    char path[4096];
    REAL(writev);
    if (turn(1)) {
        int whole = count / 2;
        if (whole) syscall(SYS_writev, fd, parts, whole);
        return torn_write(fd, parts[whole].iov_base, parts[whole].iov_len, -1);
    }
    if (fails(fd, 0, 0)) return -1;
    if (path_of(fd, path)) {
        int64_t offset = lseek(fd, 0, SEEK_CUR);
        for (int at = 0; at < count; offset += (int64_t)parts[at++].iov_len)
            put('W', fd, offset, parts[at].iov_base, parts[at].iov_len);
    }
    return real(fd, parts, count);
}

ssize_t send(int fd, const void *data, size_t length, int flags) { REAL(send); turn(0); return real(fd, data, length, flags); }
ssize_t sendmsg(int fd, const struct msghdr *message, int flags) { REAL(sendmsg); turn(0); return real(fd, message, flags); }

static int synced(int fd, int (*real)(int)) {
    char path[4096];
    struct stat about;
    uint64_t began = __atomic_load_n(&seq, __ATOMIC_SEQ_CST);
    turn(0);
    if (fails(fd, 0, 1)) return -1;
    int result = real(fd);
    if (result == 0 && path_of(fd, path)) {
        if (fstat(fd, &about) == 0 && S_ISDIR(about.st_mode)) put('D', fd, (int64_t)began, path, strlen(path));
        else put('S', fd, (int64_t)began, "", 0);
    }
    return result;
}
int fsync(int fd) { REAL(fsync); return synced(fd, real); }
int fdatasync(int fd) { REAL(fdatasync); return synced(fd, real); }

#define TRUNCATE(name) int name(int fd, off_t size) { \
    char path[4096]; REAL(name); turn(0); \
    if (fails(fd, 0, 0)) return -1; \
    if (path_of(fd, path)) put('T', fd, size, "", 0); \
    return real(fd, size); }
TRUNCATE(ftruncate)
TRUNCATE(ftruncate64)

#define ALLOCATE(name) int name(int fd, off_t offset, off_t length) { \
    char path[4096]; REAL(name); turn(0); \
    if (fails(fd, 0, 0)) return errno; \
    int result = real(fd, offset, length); \
    if (result == 0 && path_of(fd, path)) put('T', fd, offset + length, "", 0); /* of a file that was shorter */ \
    return result; }
ALLOCATE(posix_fallocate)
ALLOCATE(posix_fallocate64)

static int opened(const char *path, int flags, mode_t mode, int (*real)(const char *, int, ...)) {
    int creates = (flags & O_CREAT) != 0;
    if (creates) turn(0);
    if (creates && fails(-1, path, 0)) return -1;
    if (!wanted_path(path) || (flags & O_DIRECTORY)) return real(path, flags, mode);
    pthread_mutex_lock(&lock);
    int fd = real(path, flags, mode);
    if (fd >= 0) {
        put_locked('O', fd, flags, path, strlen(path));
        if (flags & O_TRUNC) put_locked('T', fd, 0, "", 0);
    }
    pthread_mutex_unlock(&lock);
    return fd;
}
#define OPEN(name) int name(const char *path, int flags, ...) { \
    mode_t mode = 0; REAL(name); \
    if (flags & (O_CREAT | O_TMPFILE)) { va_list more; va_start(more, flags); mode = va_arg(more, mode_t); va_end(more); } \
    return opened(path, flags, mode, (int (*)(const char *, int, ...))real); }
OPEN(open)
OPEN(open64)

int close(int fd) {
    char path[4096];
    REAL(close);
    if (record_fd < 0 || !path_of(fd, path)) return real(fd);
    pthread_mutex_lock(&lock);
    put_locked('C', fd, 0, "", 0);
    int result = real(fd);
    pthread_mutex_unlock(&lock);
    return result;
}

int rename(const char *from, const char *to) {
    REAL(rename);
    turn(0);
    if (fails(-1, from, 0)) return -1;
    if (wanted_path(from)) {
        char both[8192];
        size_t first = strlen(from) + 1, second = strlen(to);
        memcpy(both, from, first);
        memcpy(both + first, to, second);
        put('R', -1, 0, both, first + second);
    }
    return real(from, to);
}

int unlink(const char *path) {
    REAL(unlink);
    turn(0);
    if (fails(-1, path, 0)) return -1;
    if (wanted_path(path)) put('U', -1, 0, path, strlen(path));
    return real(path);
}

int mkdir(const char *path, mode_t mode) {
    REAL(mkdir);
    turn(0);
    if (fails(-1, path, 0)) return -1;
    if (wanted_path(path)) put('M', -1, 0, path, strlen(path));
    return real(path, mode);
}
