/* The least that a file system asks for a tree of links: mkdirat, then linkat or FICLONE, nothing else.
 *
 *     floor hardlink|reflink TARGET < LIST
 *
 * LIST has lines "D folder" and "F folder<TAB>name<TAB>source", folders first and in order, each relative
 * to TARGET; sources are absolute. Files of one folder follow each other, so it is opened once. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <linux/fs.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

static void fail(const char *what) {
    perror(what);
    exit(1);
}

int main(int count, char **words) {
    if (count != 3) return 2;
    int clone = !strcmp(words[1], "reflink"), folder = -1;
    if (mkdir(words[2], 0777)) fail(words[2]);
    int root = open(words[2], O_RDONLY | O_DIRECTORY);
    static char line[16384], at[8192] = "\1";
    while (fgets(line, sizeof line, stdin)) {
        line[strcspn(line, "\n")] = 0;
        char *path = line + 2;
        if (*line == 'D') {
            if (mkdirat(root, path, 0777)) fail(path);
            continue;
        }
        char *name = strchr(path, '\t');
        *name++ = 0;
        char *source = strchr(name, '\t');
        *source++ = 0;
        if (strcmp(at, path)) {
            if (folder >= 0) close(folder);
            folder = openat(root, *path ? path : ".", O_RDONLY | O_DIRECTORY);
            if (folder < 0) fail(path);
            strcpy(at, path);
        }
        if (!clone) {
            if (linkat(AT_FDCWD, source, folder, name, 0)) fail(source);
            continue;
        }
        int from = open(source, O_RDONLY), to = openat(folder, name, O_WRONLY | O_CREAT | O_EXCL, 0666);
        if (from < 0 || to < 0 || ioctl(to, FICLONE, from)) fail(source);
        close(from);
        close(to);
    }
    return 0;
}
