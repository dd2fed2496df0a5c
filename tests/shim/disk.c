/* A disk that loses power, fills up, slows down and fails, put under one process by LD_PRELOAD.
 *
 * It watches the files in one directory, and keeps beside it a shadow: what would still be there if the power went
 * now. A write reaches the file alone; a sync copies what was written since into the shadow. So after `kill -9` the
 * harness (src/disk.rs) has both, what the page cache held and what the disk held, and can put back either,
 * sector by sector. The names of new files reach the shadow when the directory is synced, and so do removals.
 *
 * A sync that is made to fail leaves its sectors as Linux leaves them: readable, clean, and never written. A later
 * sync succeeds and does not write them.
 *
 * DISK_DIR is the directory, DISK_SHADOW the shadow. The file `control` in the shadow holds `struct control`.
 * Files are told apart by name; what is mapped into memory is not seen, which concerns the -shm file alone:
 * SQLite builds it anew after a cut. */

#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/types.h>
#include <time.h>
#include <unistd.h>

enum { SECTOR = 512, MAX_SECTORS = 1 << 20, MAX_FILES = 8, MAX_FDS = 1 << 16, PATH = 512 };
enum { CLEAN = 0, DIRTY = 1, LOST = 2 };

/* Shared with the harness, which may change it at any time. Each is 8 bytes in the machine's own order. */
struct control {
    uint64_t space;        /* by how many bytes the files may still grow; UINT64_MAX: by any */
    uint64_t sync_delay;   /* microseconds that a sync takes longer */
    uint64_t failing;      /* how many syncs of the write-ahead log fail from now on */
    uint64_t ignore_wal;   /* not 0: a sync of the write-ahead log reports success and does nothing */
    uint64_t syncs;        /* how many syncs there were; written by the shim */
    uint64_t total;        /* not 0: how many bytes the disk is said to have, of which `space` are free */
};

struct file {
    char name[64];         /* empty: the place is free */
    int shadowed;          /* 0 for -shm, and for what holds room and no data */
    int is_wal;
    int shadow;            /* where a sync copies to */
    unsigned char *state;  /* one byte for each sector; a file, so that it outlives the process */
};

static const char *dir, *shadow_dir;
static size_t dir_length;
static struct control *control;
static struct file files[MAX_FILES];
/* 0: not watched; 1: the directory; else 2 + the index of the file. */
static unsigned char watched[MAX_FDS];
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

static int (*real_open)(const char *, int, ...);
static int (*real_close)(int);
static int (*real_unlink)(const char *);
static int (*real_fsync)(int);
static int (*real_fallocate)(int, int, off_t, off_t);
static int (*real_ftruncate)(int, off_t);
static int (*real_statvfs)(const char *, struct statvfs *);
static ssize_t (*real_pwrite)(int, const void *, size_t, off_t);
static ssize_t (*real_write)(int, const void *, size_t);

static void die(const char *what) {
    perror(what);
    abort();
}

static void *real(const char *name) {
    void *found = dlsym(RTLD_NEXT, name);
    if (!found) die(name);
    return found;
}

static void in_shadow(char *path, const char *name, const char *suffix) {
    if (snprintf(path, PATH, "%s/%s%s", shadow_dir, name, suffix) >= PATH) die("the path is too long");
}

__attribute__((constructor)) static void begin(void) {
    real_open = real("open");
    real_close = real("close");
    real_unlink = real("unlink");
    real_fsync = real("fsync");
    real_fallocate = real("fallocate");
    real_ftruncate = real("ftruncate");
    real_statvfs = real("statvfs");
    real_pwrite = real("pwrite");
    real_write = real("write");
    dir = getenv("DISK_DIR");
    shadow_dir = getenv("DISK_SHADOW");
    if (!dir || !shadow_dir) die("DISK_DIR and DISK_SHADOW must be set");
    dir_length = strlen(dir);
    char path[PATH];
    in_shadow(path, "control", "");
    int fd = real_open(path, O_RDWR | O_CLOEXEC);
    if (fd < 0) die(path);
    control = mmap(NULL, sizeof *control, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (control == MAP_FAILED) die("mmap");
    real_close(fd);
}

/* The name of a file in the directory; NULL for any other path. */
static const char *name_of(const char *path) {
    if (!dir || strncmp(path, dir, dir_length) != 0 || path[dir_length] != '/') return NULL;
    const char *name = path + dir_length + 1;
    return strchr(name, '/') || strlen(name) >= sizeof files[0].name ? NULL : name;
}

static int ends_with(const char *name, const char *end) {
    size_t length = strlen(name), end_length = strlen(end);
    return length >= end_length && strcmp(name + length - end_length, end) == 0;
}

static void map_state(struct file *file) {
    char path[PATH];
    in_shadow(path, file->name, ".state");
    int fd = real_open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0644);
    if (fd < 0 || real_ftruncate(fd, MAX_SECTORS) != 0) die(path);
    file->state = mmap(NULL, MAX_SECTORS, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (file->state == MAP_FAILED) die("mmap");
    real_close(fd);
}

/* Takes up a file. One that is new has no name on the disk until the directory is synced: its shadow is called
 * NAME.new until then, and NAME is still what was there before. */
static void take_up(struct file *file, const char *name, int created) {
    char path[PATH];
    strcpy(file->name, name);
    file->shadowed = !ends_with(name, "-shm") && !ends_with(name, ".reserve");
    file->is_wal = ends_with(name, "-wal");
    if (!file->shadowed) return;
    in_shadow(path, name, ".new");
    if (!created && access(path, F_OK) != 0) in_shadow(path, name, "");
    file->shadow = real_open(path, O_RDWR | O_CLOEXEC | (created ? O_CREAT | O_TRUNC : 0), 0644);
    if (file->shadow < 0) die(path);
    map_state(file);
}

static void forget(struct file *file) {
    if (file->shadowed && file->name[0]) {
        char path[PATH];
        real_close(file->shadow);
        munmap(file->state, MAX_SECTORS);
        in_shadow(path, file->name, ".new");
        real_unlink(path);
        in_shadow(path, file->name, ".state");
        real_unlink(path);
    }
}

/* The place of a file; a free one, if it is not known. */
static int place(const char *name) {
    for (int i = 0; i < MAX_FILES; i++)
        if (strcmp(files[i].name, name) == 0) return i;
    for (int i = 0; i < MAX_FILES; i++)
        if (!files[i].name[0]) return i;
    die("too many files");
    return 0;
}

static int open_watched(const char *path, int flags, mode_t mode) {
    const char *name = dir ? name_of(path) : NULL;
    if (!name) {
        int fd = real_open(path, flags, mode);
        if (fd >= 0 && fd < MAX_FDS && dir && strcmp(path, dir) == 0) watched[fd] = 1;
        return fd;
    }
    pthread_mutex_lock(&lock);
    int there = access(path, F_OK) == 0;
    int fd = real_open(path, flags, mode);
    int saved = errno;
    if (fd >= MAX_FDS) die("too many open files");
    if (fd >= 0) {
        int i = place(name);
        if (!there || !files[i].name[0]) {
            if (files[i].name[0]) forget(&files[i]);
            take_up(&files[i], name, !there);
        }
        watched[fd] = 2 + i;
    }
    errno = saved;
    pthread_mutex_unlock(&lock);
    return fd;
}

#define MODE(flags, mode) \
    mode_t mode = 0; \
    if ((flags) & (O_CREAT | __O_TMPFILE)) { \
        va_list rest; \
        va_start(rest, flags); \
        mode = va_arg(rest, mode_t); \
        va_end(rest); \
    }

int open(const char *path, int flags, ...) {
    MODE(flags, mode)
    return open_watched(path, flags, mode);
}

int open64(const char *path, int flags, ...) {
    MODE(flags, mode)
    return open_watched(path, flags, mode);
}

int close(int fd) {
    if (fd >= 0 && fd < MAX_FDS) watched[fd] = 0;
    return real_close(fd);
}

static off_t size_of(int fd) {
    struct stat stat;
    if (fstat(fd, &stat) != 0) die("fstat");
    return stat.st_size;
}

int unlink(const char *path) {
    const char *name = dir ? name_of(path) : NULL;
    if (!name) return real_unlink(path);
    pthread_mutex_lock(&lock);
    struct stat stat_before;
    off_t size = stat(path, &stat_before) == 0 ? stat_before.st_size : 0;
    int result = real_unlink(path);
    int saved = errno;
    if (result == 0 && control->space != UINT64_MAX) control->space += size;
    errno = saved;
    pthread_mutex_unlock(&lock);
    return result;
}

static struct file *file_of(int fd) {
    return fd >= 0 && fd < MAX_FDS && watched[fd] >= 2 ? &files[watched[fd] - 2] : NULL;
}

static void mark(struct file *file, off_t from, off_t to) {
    if (to > (off_t)SECTOR * MAX_SECTORS) die("the file is too large");
    for (off_t sector = from / SECTOR; sector * SECTOR < to; sector++) file->state[sector] = DIRTY;
}

static ssize_t write_watched(struct file *file, int fd, const void *bytes, size_t length, off_t at) {
    pthread_mutex_lock(&lock);
    off_t size = size_of(fd);
    uint64_t growth = at + (off_t)length > size ? (uint64_t)(at + (off_t)length - size) : 0;
    ssize_t result = -1;
    if (growth > control->space) {
        uint64_t missing = growth - control->space;
        length = missing < length ? length - missing : 0;
        growth = length ? control->space : 0;
    }
    if (length) result = real_pwrite(fd, bytes, length, at);
    else errno = ENOSPC;
    int saved = errno;
    if (result > 0) {
        if (control->space != UINT64_MAX) control->space -= growth;
        /* What lies between the old end and the place of the write has become zeros. */
        if (file->shadowed) mark(file, at < size ? at : size, at + result);
    }
    errno = saved;
    pthread_mutex_unlock(&lock);
    return result;
}

ssize_t pwrite(int fd, const void *bytes, size_t length, off_t at) {
    struct file *file = file_of(fd);
    return file ? write_watched(file, fd, bytes, length, at) : real_pwrite(fd, bytes, length, at);
}

ssize_t pwrite64(int fd, const void *bytes, size_t length, off_t at) {
    return pwrite(fd, bytes, length, at);
}

ssize_t write(int fd, const void *bytes, size_t length) {
    if (!file_of(fd)) return real_write(fd, bytes, length);
    fputs("a watched file is written to in a way that the shim does not know\n", stderr);
    abort();
}

int fallocate(int fd, int mode, off_t at, off_t length) {
    struct file *file = file_of(fd);
    if (!file) return real_fallocate(fd, mode, at, length);
    pthread_mutex_lock(&lock);
    off_t size = size_of(fd);
    uint64_t growth = at + length > size ? (uint64_t)(at + length - size) : 0;
    int result = -1, saved = ENOSPC;
    if (growth <= control->space) {
        result = real_fallocate(fd, mode, at, length);
        saved = errno;
        if (result == 0 && control->space != UINT64_MAX) control->space -= growth;
    }
    errno = saved;
    pthread_mutex_unlock(&lock);
    return result;
}

int fallocate64(int fd, int mode, off_t at, off_t length) {
    return fallocate(fd, mode, at, length);
}

int statvfs(const char *path, struct statvfs *disk) {
    int result = real_statvfs(path, disk);
    if (result == 0 && dir && strncmp(path, dir, dir_length) == 0 && control->space != UINT64_MAX) {
        if (control->total) disk->f_blocks = control->total / 4096;
        disk->f_frsize = 4096;
        disk->f_bfree = disk->f_bavail = control->space / 4096;
    }
    return result;
}

int statvfs64(const char *path, struct statvfs64 *disk) {
    return statvfs(path, (struct statvfs *)disk);
}

int ftruncate(int fd, off_t size) {
    struct file *file = file_of(fd);
    if (!file) return real_ftruncate(fd, size);
    pthread_mutex_lock(&lock);
    off_t before = size_of(fd);
    int result = real_ftruncate(fd, size);
    int saved = errno;
    if (result == 0) {
        if (control->space != UINT64_MAX) control->space += before - size;
        if (file->shadowed) mark(file, before < size ? before : size, before < size ? size : before);
    }
    errno = saved;
    pthread_mutex_unlock(&lock);
    return result;
}

int ftruncate64(int fd, off_t size) {
    return ftruncate(fd, size);
}

/* What was written since the last sync is on the disk now. */
static void reach_disk(struct file *file, int fd) {
    off_t size = size_of(fd);
    char sector_bytes[SECTOR];
    for (off_t sector = 0; sector * SECTOR < size; sector++) {
        if (file->state[sector] != DIRTY) continue;
        ssize_t got = pread(fd, sector_bytes, SECTOR, sector * SECTOR);
        if (got < 0 || real_pwrite(file->shadow, sector_bytes, got, sector * SECTOR) != got) die("shadow");
        file->state[sector] = CLEAN;
    }
    if (real_ftruncate(file->shadow, size) != 0) die("shadow");
}

static void lose(struct file *file, off_t size) {
    for (off_t sector = 0; sector * SECTOR < size; sector++)
        if (file->state[sector] == DIRTY) file->state[sector] = LOST;
}

/* Names that were made are on the disk now, and those that were removed are not. */
static void names_reach_disk(void) {
    char path[PATH], durable[PATH];
    for (int i = 0; i < MAX_FILES; i++) {
        if (!files[i].name[0] || !files[i].shadowed) continue;
        in_shadow(durable, files[i].name, "");
        if (snprintf(path, PATH, "%s/%s", dir, files[i].name) >= PATH) die("the path is too long");
        if (access(path, F_OK) != 0) {
            real_unlink(durable);
            continue;
        }
        in_shadow(path, files[i].name, ".new");
        if (rename(path, durable) != 0 && errno != ENOENT) die(path);
    }
}

int fsync(int fd) {
    if (fd < 0 || fd >= MAX_FDS || !watched[fd]) return real_fsync(fd);
    struct file *file = file_of(fd);
    uint64_t delay = control->sync_delay;
    if (delay) {
        struct timespec time = {.tv_sec = delay / 1000000, .tv_nsec = delay % 1000000 * 1000};
        nanosleep(&time, NULL);
    }
    if (file && file->is_wal && control->ignore_wal) return 0;
    pthread_mutex_lock(&lock);
    control->syncs++;
    int result = 0;
    if (file && file->is_wal && control->failing) {
        control->failing--;
        lose(file, size_of(fd));
        errno = EIO;
        result = -1;
    } else if (!file) {
        names_reach_disk();
    } else if (file->shadowed) {
        reach_disk(file, fd);
    }
    pthread_mutex_unlock(&lock);
    return result;
}

int fdatasync(int fd) {
    return fsync(fd);
}
