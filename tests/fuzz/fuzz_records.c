/*
 * fuzz_records: any text as records. Input: a byte of options (2 bits format, then hex, byte
 * values, keys only), then the text. What was read is written in the same format, which can always
 * carry it, and must read back the same.
 */
#include "client/actctl/records_writer.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must(bool is_right, const char *wrong)
{
    if (is_right)
        return;
    fprintf(stderr, "%s\n", wrong);
    abort();
}

/* A descriptor that gives these bytes. */
static int descriptor_of(const void *p, size_t size)
{
    int fd = memfd_create("records", MFD_CLOEXEC);
    must(fd >= 0 && write(fd, p, size) == (ssize_t)size && lseek(fd, 0, SEEK_SET) == 0,
         "no memory file");
    return fd;
}

static uint64_t hash(uint64_t h, struct slice bytes)
{
    h = (h ^ bytes.len) * 0x100000001b3;
    for (size_t i = 0; i < bytes.len; i++)
        h = (h ^ bytes.p[i]) * 0x100000001b3;
    return h;
}

struct seen {
    uint64_t n, hash;
};

/* Reads all records, and writes them where the writer is not NULL. */
static int read_all(int fd, const struct records_options *options, struct records_writer *writer,
                    struct seen *ret_seen)
{
    struct records records;
    struct record record;
    struct seen seen = {0};
    const char *reason;
    int r;
    records_init(&records, fd, options);
    while ((r = records_next(&records, &record)) == 0) {
        seen.n++;
        seen.hash = hash(hash(seen.hash, record.key), record.bytes) + record.value;
        must(records.number == seen.n, "records are not numbered");
        must(!writer || records_write(writer, &record, &reason) == 0,
             "what was read cannot be written");
    }
    must(r == RECORDS_END || r == RECORDS_BAD, "an error of the system");
    must(r == RECORDS_END || records.fault.reason, "bad, but not why");
    must(r == RECORDS_END || records.number == seen.n + 1, "the bad record has another number");
    records_deinit(&records);
    *ret_seen = seen;
    return r;
}

static void check(int fd, const struct records_options *options)
{
    struct records_writer writer;
    struct seen first, second;
    char *text = NULL;
    size_t size = 0;
    FILE *file = open_memstream(&text, &size);
    must(file && records_writer_init(&writer, file, options) == 0, "no memory");
    read_all(fd, options, &writer, &first);
    must(records_flush(&writer) == 0, "cannot write");
    records_writer_deinit(&writer);
    fclose(file);
    int again = descriptor_of(text, size);
    must(read_all(again, options, NULL, &second) == RECORDS_END, "what was written is bad");
    must(first.n == second.n && first.hash == second.hash, "what was written is something else");
    close(again);
    free(text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 1)
        return 0;
    struct records_options options = {
        .format = (enum records_format)((data[0] & 3) % 3),
        .is_hex = data[0] & 4,
        .is_bytes = data[0] & 8,
        .is_keys_only = data[0] & 16,
    };
    int fd = descriptor_of(data + 1, size - 1);
    check(fd, &options);
    close(fd);
    return 0;
}
