/* Makes writing fail, for scripts/fault_test.py: preloaded, it lets the first FAULT_AFTER calls pass that write below
 * the directory FAULT_DIR (write, fsync, ftruncate, rename), and fails the later ones with the error FAULT_ERRNO. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>
#include <unistd.h>

static int calls;

static int fails(const char* path) {
  const char* directory = getenv("FAULT_DIR");
  if (directory == NULL || strncmp(path, directory, strlen(directory)) != 0) return 0;
  if (calls++ < atoi(getenv("FAULT_AFTER"))) return 0;
  errno = atoi(getenv("FAULT_ERRNO"));
  return 1;
}

static int fails_at(int fd) {
  char link[64], path[PATH_MAX];
  snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
  const ssize_t size = readlink(link, path, sizeof path - 1);
  if (size < 0) return 0;
  path[size] = '\0';
  return fails(path);
}

ssize_t write(int fd, const void* data, size_t size) {
  static ssize_t (*real)(int, const void*, size_t);
  if (real == NULL) real = (ssize_t(*)(int, const void*, size_t))dlsym(RTLD_NEXT, "write");
  if (fd > STDERR_FILENO && fails_at(fd)) {
    if (size < 2) return -1;
    return real(fd, data, size / 2); /* a disk that fills up takes a part first */
  }
  return real(fd, data, size);
}

int fsync(int fd) {
  static int (*real)(int);
  if (real == NULL) real = (int (*)(int))dlsym(RTLD_NEXT, "fsync");
  return fails_at(fd) ? -1 : real(fd);
}

int ftruncate(int fd, off_t size) {
  static int (*real)(int, off_t);
  if (real == NULL) real = (int (*)(int, off_t))dlsym(RTLD_NEXT, "ftruncate");
  return fails_at(fd) ? -1 : real(fd, size);
}

int rename(const char* from, const char* to) {
  static int (*real)(const char*, const char*);
  char path[PATH_MAX];
  if (real == NULL) real = (int (*)(const char*, const char*))dlsym(RTLD_NEXT, "rename");
  if (realpath(from, path) != NULL && fails(path)) return -1;
  return real(from, to);
}

/* FAULT_FLOCK: a file system without locks. */
int flock(int fd, int operation) {
  static int (*real)(int, int);
  if (real == NULL) real = (int (*)(int, int))dlsym(RTLD_NEXT, "flock");
  if (getenv("FAULT_FLOCK") != NULL) {
    errno = atoi(getenv("FAULT_FLOCK"));
    return -1;
  }
  return real(fd, operation);
}
