/*
 * replay: runs a fuzz target over the files of the directories and over the files named on the
 * command line. Linked with every target where libFuzzer is not.
 */
#include <dirent.h>
#include <err.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static unsigned n_replayed;

static void replay_file(const char *path, size_t size)
{
    /* Exactly as large as the input: a sanitizer then sees each byte too far. */
    uint8_t *data = malloc(size ? size : 1);
    FILE *f = fopen(path, "rb");
    if (!data || !f || fread(data, 1, size, f) != size)
        err(2, "%s", path);
    fclose(f);
    LLVMFuzzerTestOneInput(data, size);
    free(data);
    n_replayed++;
}

static void replay(const char *path)
{
    struct stat st;
    if (stat(path, &st) < 0)
        err(2, "%s", path);
    if (!S_ISDIR(st.st_mode)) {
        replay_file(path, (size_t)st.st_size);
        return;
    }
    struct dirent **entries;
    int n = scandir(path, &entries, NULL, alphasort);
    if (n < 0)
        err(2, "%s", path);
    for (int i = 0; i < n; i++) {
        char child[4096];
        snprintf(child, sizeof child, "%s/%s", path, entries[i]->d_name);
        if (entries[i]->d_name[0] != '.')
            replay(child);
        free(entries[i]);
    }
    free(entries);
}

int main(int argc, char **argv)
{
    for (int i = 1; i < argc; i++)
        replay(argv[i]);
    if (n_replayed == 0)
        errx(2, "usage: %s DIRECTORY|FILE... (found no file to replay)", argv[0]);
    printf("%u inputs replayed\n", n_replayed);
    return 0;
}
