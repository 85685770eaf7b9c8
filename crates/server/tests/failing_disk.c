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
 * Files outside of the folder, and sockets, work as ever.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/types.h>
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

static int file_is_there(int file) {
    char link[64], path[PATH_MAX];
    int kept = errno;
    snprintf(link, sizeof link, "/proc/self/fd/%d", file);
    ssize_t length = readlink(link, path, sizeof path - 1);
    errno = kept;
    if (length <= 0) return 0;
    path[length] = 0;
    return path_is_there(path);
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
    return REAL(write)(file, bytes, allowed);
}

ssize_t pwrite(int file, const void *bytes, size_t count, off_t offset) {
    size_t allowed = admitted(file, count, offset);
    if (allowed == 0 && count > 0) return -1;
    return REAL(pwrite)(file, bytes, allowed, offset);
}

ssize_t pwrite64(int file, const void *bytes, size_t count, off64_t offset) {
    size_t allowed = admitted(file, count, offset);
    if (allowed == 0 && count > 0) return -1;
    return REAL(pwrite64)(file, bytes, allowed, offset);
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
    return unsynced(file) ? -1 : REAL(fsync)(file);
}

int fdatasync(int file) {
    return unsynced(file) ? -1 : REAL(fdatasync)(file);
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
    return fixed_file(file) ? -1 : REAL(ftruncate)(file, length);
}

int ftruncate64(int file, off64_t length) {
    return fixed_file(file) ? -1 : REAL(ftruncate64)(file, length);
}

int unlink(const char *path) {
    return fixed(path) ? -1 : REAL(unlink)(path);
}

int mkdir(const char *path, mode_t permissions) {
    struct stat found;
    if (stat(path, &found) != 0 && fixed(path)) return -1;
    return REAL(mkdir)(path, permissions);
}

int access(const char *path, int wanted) {
    return (wanted & W_OK) && fixed(path) ? -1 : REAL(access)(path, wanted);
}

/* Whether a file is opened to be changed. */
static int changes(int flags) {
    return (flags & O_ACCMODE) != O_RDONLY || (flags & (O_CREAT | O_TRUNC)) != 0;
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
    return REAL(open)(path, flags, permissions);
}

int open64(const char *path, int flags, ...) {
    va_list rest;
    va_start(rest, flags);
    mode_t permissions = permissions_of(flags, rest);
    va_end(rest);
    if (changes(flags) && fixed(path)) return -1;
    return REAL(open64)(path, flags, permissions);
}
