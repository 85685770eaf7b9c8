/* A disk that fails when it is told to: loaded before the C library by LD_PRELOAD.
 *
 * FAILING_DISK_DIR is the folder that lies on that disk, FAILING_DISK_CONTROL a file whose one line
 * says how it fails, read at every call:
 *
 *   (empty)     it works
 *   full N      files may grow by N bytes more, then ENOSPC; what is there may be written over
 *   full-log N  the same, and standard error lies on that disk too
 *   readonly    EROFS for whatever would change it
 *   unsynced    fsync says EIO
 *   unreadable  reading says EIO
 *
 * Where FAILING_DISK_LOG names a file outside of the folder, whatever changes the folder is appended
 * to it, in the order in which it happened; see `struct head`. What is written by mmap is not.
 *
 * Files outside of the folder, and sockets, work as ever.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <unistd.h>

#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

enum mode { WORKS, FULL, FULL_LOG, READONLY, UNSYNCED, UNREADABLE };

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
/* The line that `room` belongs to, and how many bytes files may still grow by. */
static char current[64];
static long long room;

static enum mode parse(const char *line) {
    if (strncmp(line, "full-log", 8) == 0) return FULL_LOG;
    if (strncmp(line, "full", 4) == 0) return FULL;
    if (strncmp(line, "readonly", 8) == 0) return READONLY;
    if (strncmp(line, "unsynced", 8) == 0) return UNSYNCED;
    if (strncmp(line, "unreadable", 10) == 0) return UNREADABLE;
    return WORKS;
}

/* How the disk is now. The lock is held. */
static enum mode look(void) {
    const char *control = getenv("FAILING_DISK_CONTROL");
    char line[sizeof current] = "";
    int file = control ? REAL(open)(control, O_RDONLY | O_CLOEXEC) : -1;
    if (file >= 0) {
        ssize_t got = REAL(read)(file, line, sizeof line - 1);
        line[got > 0 ? got : 0] = 0;
        REAL(close)(file);
    }
    if (strcmp(line, current) != 0) {
        strcpy(current, line);
        const char *number = strchr(line, ' ');
        room = number ? atoll(number) : 0;
    }
    return parse(line);
}

static enum mode mode_now(void) {
    int kept = errno;
    pthread_mutex_lock(&lock);
    enum mode mode = look();
    pthread_mutex_unlock(&lock);
    errno = kept;
    return mode;
}

static int path_is_there(const char *path) {
    const char *dir = getenv("FAILING_DISK_DIR");
    size_t length = dir ? strlen(dir) : 0;
    return length > 0 && strncmp(path, dir, length) == 0 && (path[length] == '/' || !path[length]);
}

/* Empty if it has none. */
static void path_of(int file, char path[PATH_MAX]) {
    char link[64];
    int kept = errno;
    snprintf(link, sizeof link, "/proc/self/fd/%d", file);
    ssize_t length = readlink(link, path, PATH_MAX - 1);
    path[length > 0 ? length : 0] = 0;
    errno = kept;
}

static int file_is_there(int file) {
    char path[PATH_MAX];
    path_of(file, path);
    return path_is_there(path);
}

/* One change in the log; little-endian. The name below the folder and the bytes follow: no name is
 * the folder itself.
 *
 *   c  the file was created
 *   d  the folder was
 *   u  it was removed
 *   r  it has another name now: the bytes
 *   w  `length` bytes were written at `number`
 *   t  it was cut, or made longer, to `number` bytes
 *   s  all of the above is on the disk: of a file what it holds, of the folder which files it has
 */
struct __attribute__((packed)) head {
    char kind;
    uint16_t name;
    uint64_t number;
    uint32_t length;
};

/* Held while something is changed and recorded, so that the order in the log is the true one. */
static pthread_mutex_t order = PTHREAD_MUTEX_INITIALIZER;

/* Nothing ends between a change and its record. */
__attribute__((destructor)) static void finish(void) {
    pthread_mutex_lock(&order);
}

static int is_recorded(const char *path) {
    return getenv("FAILING_DISK_LOG") && path_is_there(path);
}

/* Below the folder. */
static const char *name_of(const char *path) {
    const char *name = path + strlen(getenv("FAILING_DISK_DIR"));
    return *name == '/' ? name + 1 : name;
}

static int begin(const char *path) {
    if (!is_recorded(path)) return 0;
    pthread_mutex_lock(&order);
    return 1;
}

/* What of a file that is open is recorded: `path` is where it lies. */
static int begin_file(int file, char path[PATH_MAX]) {
    path[0] = 0;
    if (!getenv("FAILING_DISK_LOG")) return 0;
    path_of(file, path);
    return begin(path);
}

static void record(char kind, const char *path, uint64_t number, const void *bytes, size_t count) {
    static int log = -1;
    int kept = errno;
    if (log < 0) {
        int flags = O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC;
        log = REAL(open)(getenv("FAILING_DISK_LOG"), flags, 0600);
    }
    const char *name = name_of(path);
    struct head head = {kind, (uint16_t)strlen(name), number, (uint32_t)count};
    struct iovec parts[] = {
        {&head, sizeof head}, {(void *)name, head.name}, {(void *)bytes, count}};
    /* At once, as others append too. Half a record would make a lie of all that follow. */
    if (writev(log, parts, 3) != (ssize_t)(sizeof head + head.name + count)) abort();
    errno = kept;
}

/* Ends what `begin` began, and records it if it was done. */
static void end(int begun, int is_done, char kind, const char *path, uint64_t number) {
    if (!begun) return;
    if (is_done) record(kind, path, number, "", 0);
    pthread_mutex_unlock(&order);
}

static void end_write(int begun, const char *path, off_t offset, const void *bytes, ssize_t done) {
    if (!begun) return;
    if (done > 0) record('w', path, (uint64_t)offset, bytes, (size_t)done);
    pthread_mutex_unlock(&order);
}

/* How many of `count` bytes at `offset` may be written; 0 with errno set if none. */
static size_t admitted(int file, size_t count, off_t offset) {
    if (count == 0 || !file_is_there(file)) return count;
    pthread_mutex_lock(&lock);
    enum mode mode = look();
    size_t allowed = count;
    struct stat now;
    if (file == STDERR_FILENO && mode != FULL_LOG) {
        allowed = count;
    } else if (mode == READONLY) {
        allowed = 0;
        errno = EROFS;
    } else if ((mode == FULL || mode == FULL_LOG) && fstat(file, &now) == 0) {
        if (offset < 0) offset = now.st_size;
        long long growth = (long long)offset + (long long)count - (long long)now.st_size;
        if (growth > room) {
            long long left = (long long)count - (growth - room);
            allowed = left > 0 ? (size_t)left : 0;
            growth = room;
        }
        if (growth > 0) room -= growth;
        if (allowed == 0) errno = ENOSPC;
    }
    pthread_mutex_unlock(&lock);
    return allowed;
}

ssize_t write(int file, const void *bytes, size_t count) {
    off_t offset = -1;
    if (file != STDERR_FILENO) {
        int kept = errno;
        offset = lseek(file, 0, SEEK_CUR);
        errno = kept;
    }
    size_t allowed = admitted(file, count, offset);
    if (allowed == 0 && count > 0) return -1;
    char path[PATH_MAX];
    int begun = begin_file(file, path);
    ssize_t done = REAL(write)(file, bytes, allowed);
    end_write(begun, path, offset, bytes, done);
    return done;
}

ssize_t pwrite(int file, const void *bytes, size_t count, off_t offset) {
    size_t allowed = admitted(file, count, offset);
    if (allowed == 0 && count > 0) return -1;
    char path[PATH_MAX];
    int begun = begin_file(file, path);
    ssize_t done = REAL(pwrite)(file, bytes, allowed, offset);
    end_write(begun, path, offset, bytes, done);
    return done;
}

ssize_t pwrite64(int file, const void *bytes, size_t count, off64_t offset) {
    size_t allowed = admitted(file, count, offset);
    if (allowed == 0 && count > 0) return -1;
    char path[PATH_MAX];
    int begun = begin_file(file, path);
    ssize_t done = REAL(pwrite64)(file, bytes, allowed, offset);
    end_write(begun, path, offset, bytes, done);
    return done;
}

static int unreadable(int file) {
    if (!file_is_there(file) || mode_now() != UNREADABLE) return 0;
    errno = EIO;
    return 1;
}

ssize_t read(int file, void *bytes, size_t count) {
    return unreadable(file) ? -1 : REAL(read)(file, bytes, count);
}

ssize_t pread(int file, void *bytes, size_t count, off_t offset) {
    return unreadable(file) ? -1 : REAL(pread)(file, bytes, count, offset);
}

ssize_t pread64(int file, void *bytes, size_t count, off64_t offset) {
    return unreadable(file) ? -1 : REAL(pread64)(file, bytes, count, offset);
}

static int unsynced(int file) {
    if (!file_is_there(file) || mode_now() != UNSYNCED) return 0;
    errno = EIO;
    return 1;
}

int fsync(int file) {
    if (unsynced(file)) return -1;
    char path[PATH_MAX];
    int begun = begin_file(file, path);
    int failed = REAL(fsync)(file);
    end(begun, !failed, 's', path, 0);
    return failed;
}

int fdatasync(int file) {
    if (unsynced(file)) return -1;
    char path[PATH_MAX];
    int begun = begin_file(file, path);
    int failed = REAL(fdatasync)(file);
    end(begun, !failed, 's', path, 0);
    return failed;
}

static int fixed(const char *path) {
    if (!path_is_there(path) || mode_now() != READONLY) return 0;
    errno = EROFS;
    return 1;
}

static int fixed_file(int file) {
    if (!file_is_there(file) || mode_now() != READONLY) return 0;
    errno = EROFS;
    return 1;
}

int ftruncate(int file, off_t length) {
    if (fixed_file(file)) return -1;
    char path[PATH_MAX];
    int begun = begin_file(file, path);
    int failed = REAL(ftruncate)(file, length);
    end(begun, !failed, 't', path, (uint64_t)length);
    return failed;
}

int ftruncate64(int file, off64_t length) {
    if (fixed_file(file)) return -1;
    char path[PATH_MAX];
    int begun = begin_file(file, path);
    int failed = REAL(ftruncate64)(file, length);
    end(begun, !failed, 't', path, (uint64_t)length);
    return failed;
}

int unlink(const char *path) {
    if (fixed(path)) return -1;
    int begun = begin(path);
    int failed = REAL(unlink)(path);
    end(begun, !failed, 'u', path, 0);
    return failed;
}

/* Is recorded within the folder only. */
int rename(const char *from, const char *to) {
    if (fixed(from) || fixed(to)) return -1;
    int begun = path_is_there(to) && begin(from);
    int failed = REAL(rename)(from, to);
    if (begun) {
        const char *name = name_of(to);
        if (!failed) record('r', from, 0, name, strlen(name));
        pthread_mutex_unlock(&order);
    }
    return failed;
}

int mkdir(const char *path, mode_t permissions) {
    struct stat found;
    if (stat(path, &found) != 0 && fixed(path)) return -1;
    int begun = begin(path);
    int failed = REAL(mkdir)(path, permissions);
    end(begun, !failed, 'd', path, 0);
    return failed;
}

int access(const char *path, int wanted) {
    return (wanted & W_OK) && fixed(path) ? -1 : REAL(access)(path, wanted);
}

/* Whether a file is opened to be changed. */
static int changes(int flags) {
    return (flags & O_ACCMODE) != O_RDONLY || (flags & (O_CREAT | O_TRUNC)) != 0;
}

static int begin_open(const char *path, int flags, int *is_new) {
    struct stat found;
    int kept = errno, begun = flags & (O_CREAT | O_TRUNC) ? begin(path) : 0;
    *is_new = begun && stat(path, &found) != 0;
    errno = kept;
    return begun;
}

static void end_open(int begun, int is_new, const char *path, int flags, int file) {
    int changed = file >= 0 && (is_new || (flags & O_TRUNC));
    end(begun, changed, is_new ? 'c' : 't', path, 0);
}

static mode_t permissions_of(int flags, va_list rest) {
    return flags & (O_CREAT | O_TMPFILE) ? va_arg(rest, mode_t) : 0;
}

int open(const char *path, int flags, ...) {
    va_list rest;
    va_start(rest, flags);
    mode_t permissions = permissions_of(flags, rest);
    va_end(rest);
    if (changes(flags) && fixed(path)) return -1;
    int is_new, begun = begin_open(path, flags, &is_new);
    int file = REAL(open)(path, flags, permissions);
    end_open(begun, is_new, path, flags, file);
    return file;
}

int open64(const char *path, int flags, ...) {
    va_list rest;
    va_start(rest, flags);
    mode_t permissions = permissions_of(flags, rest);
    va_end(rest);
    if (changes(flags) && fixed(path)) return -1;
    int is_new, begun = begin_open(path, flags, &is_new);
    int file = REAL(open64)(path, flags, permissions);
    end_open(begun, is_new, path, flags, file);
    return file;
}
