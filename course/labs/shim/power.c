/* What a power cut leaves of the files in one directory, for a program under LD_PRELOAD.
 *
 * A sync copies its file as it is into a shadow directory; renames and removals are repeated there. After `kill -9` the
 * checker puts the shadow in the directory's place: what was never synced is gone. It is kinder than a disk, which may
 * also keep part of what was not synced; tests/shim/disk.c has that.
 *
 * LAB_POWER_DIR is the directory, LAB_POWER_SHADOW the shadow. The file `.seen` in the shadow says that this program's
 * system calls come through here at all: those of a statically linked one do not. */

#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { PATH = 1024 };

static const char *dir, *shadow;
static size_t dir_length;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

static int (*real_fsync)(int);
static int (*real_fdatasync)(int);
static int (*real_rename)(const char *, const char *);
static int (*real_unlink)(const char *);
static ssize_t (*real_write)(int, const void *, size_t);

__attribute__((constructor)) static void begin(void) {
    real_fsync = dlsym(RTLD_NEXT, "fsync");
    real_fdatasync = dlsym(RTLD_NEXT, "fdatasync");
    real_rename = dlsym(RTLD_NEXT, "rename");
    real_unlink = dlsym(RTLD_NEXT, "unlink");
    real_write = dlsym(RTLD_NEXT, "write");
    dir = getenv("LAB_POWER_DIR");
    shadow = getenv("LAB_POWER_SHADOW");
    if (!dir || !shadow) dir = NULL;
    dir_length = dir ? strlen(dir) : 0;
}

/* The name of a path in the directory; NULL for any other. */
static const char *inside(const char *path) {
    if (!dir || strncmp(path, dir, dir_length) != 0 || path[dir_length] != '/') return NULL;
    const char *name = path + dir_length + 1;
    return *name && !strchr(name, '/') ? name : NULL;
}

static const char *name_of(int fd, char path[PATH]) {
    char link[64];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = dir ? readlink(link, path, PATH - 1) : -1;
    if (length < 0) return NULL;
    path[length] = 0;
    return inside(path);
}

static void in_shadow(char path[PATH], const char *name) { snprintf(path, PATH, "%s/%s", shadow, name); }

static void seen(void) {
    static int said;
    if (said) return;
    said = 1;
    char path[PATH];
    in_shadow(path, ".seen");
    close(open(path, O_CREAT | O_WRONLY | O_CLOEXEC, 0644));
}

/* Copies a file beside its shadow, and puts it in its place: a kill in between leaves the old one. */
static void copy(const char *from, const char *name) {
    char part[PATH], to[PATH], buffer[65536];
    snprintf(part, PATH, "%s/.part", shadow);
    in_shadow(to, name);
    int in = open(from, O_RDONLY | O_CLOEXEC), out = open(part, O_CREAT | O_TRUNC | O_WRONLY | O_CLOEXEC, 0644);
    ssize_t got = -1;
    while (in >= 0 && out >= 0 && (got = read(in, buffer, sizeof buffer)) > 0)
        if (real_write(out, buffer, got) != got) { got = -1; break; }
    if (in >= 0) close(in);
    if (out >= 0) close(out);
    if (got == 0) real_rename(part, to);
}

static void synced(int fd) {
    char path[PATH];
    const char *name = name_of(fd, path);
    if (!name) return;
    pthread_mutex_lock(&lock);
    seen();
    copy(path, name);
    pthread_mutex_unlock(&lock);
}

int fsync(int fd) {
    int result = real_fsync(fd);
    if (result == 0) synced(fd);
    return result;
}

int fdatasync(int fd) {
    int result = real_fdatasync(fd);
    if (result == 0) synced(fd);
    return result;
}

ssize_t write(int fd, const void *bytes, size_t length) {
    char path[PATH];
    static int looked;
    if (!looked && name_of(fd, path)) {
        looked = 1;
        seen();
    }
    return real_write(fd, bytes, length);
}

int rename(const char *from, const char *to) {
    int result = real_rename(from, to);
    const char *old = inside(from), *new = inside(to);
    if (result == 0 && old && new) {
        char old_path[PATH], new_path[PATH];
        in_shadow(old_path, old);
        in_shadow(new_path, new);
        real_rename(old_path, new_path);
    }
    return result;
}

int unlink(const char *path) {
    int result = real_unlink(path);
    const char *name = inside(path);
    if (result == 0 && name) {
        char gone[PATH];
        in_shadow(gone, name);
        real_unlink(gone);
    }
    return result;
}
