/*
 * profile: what is written is read again, in little room; what is damaged, foreign or a lie is
 * refused before it costs anything; and a kill while one is written leaves the old or the new one.
 */
#include "randomkeys.h"
#include "tree/le.h"
#include "tree/profile.h"
#include "unit.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#include <xxhash.h>

#define PAGE  ((uint64_t)ACT_PAGE_BYTES)
#define CHUNK 32768 /* pages */

/* A folder for one test's files. */
struct place {
    char directory[32], path[64];
};

static struct place place_open(void)
{
    struct place place = {.directory = "/tmp/test_profile.XXXXXX"};
    assert_non_null(mkdtemp(place.directory));
    snprintf(place.path, sizeof place.path, "%s/profile", place.directory);
    return place;
}

static unsigned n_files(const struct place *place)
{
    unsigned n = 0;
    DIR *directory = opendir(place->directory);
    assert_non_null(directory);
    while (readdir(directory))
        n++;
    closedir(directory);
    return n - 2; /* . and .. */
}

/* Nothing may be there but the profile. */
static void place_close(struct place *place)
{
    (void)unlink(place->path);
    assert_int_equal(rmdir(place->directory), 0);
}

static struct act_pages *pages_of(uint64_t size_bytes)
{
    struct act_pages *pages;
    assert_int_equal(act_pages_new(size_bytes, &pages), 0);
    return pages;
}

static struct act_profile about_of(const struct act_pages *pages)
{
    return (struct act_profile){
        .identity = 0xfedcba9876543210,
        .size_bytes = act_pages_size_bytes(pages),
        .root_offset = 0x123456,
        .source = ACT_PAGES_PAGEMAP,
        .saved_s = 1800000000,
    };
}

static void assert_equal_abouts(const struct act_profile *a, const struct act_profile *b)
{
    assert_int_equal(a->identity, b->identity);
    assert_int_equal(a->size_bytes, b->size_bytes);
    assert_int_equal(a->root_offset, b->root_offset);
    assert_int_equal(a->source, b->source);
    assert_int_equal(a->saved_s, b->saved_s);
}

static void assert_equal_sets(const struct act_pages *a, const struct act_pages *b)
{
    assert_int_equal(a->size_bytes, b->size_bytes);
    assert_int_equal(a->n_words, b->n_words);
    assert_memory_equal(a->words, b->words, a->n_words * sizeof *a->words);
}

/* Encodes and decodes; how many bytes it took. */
static size_t check_round_trip(const struct act_pages *pages)
{
    struct act_profile about = about_of(pages), wanted = about, found;
    struct act_pages *again = NULL;
    char why[PROFILE_WHY_SIZE];
    uint8_t *data;
    size_t len;
    assert_int_equal(profile_encode(&about, pages, &data, &len), 0);
    assert_in_range(len, PROFILE_HEADER_BYTES + PROFILE_DIGEST_BYTES,
                    profile_max_bytes(about.size_bytes));
    wanted.saved_s = 0;
    wanted.source = ACT_PAGES_UNKNOWN;
    assert_int_equal(profile_decode(data, len, &wanted, &found, &again, why), 0);
    assert_equal_abouts(&found, &about);
    assert_equal_sets(pages, again);
    act_pages_free(again);
    free(data);
    return len;
}

static void add_random(struct act_pages *pages, struct random *random)
{
    unsigned n = random_below(random, 2000);
    uint64_t longest = (uint64_t)1 << random_below(random, 17), total = act_pages_total(pages);
    for (unsigned i = 0; i < n && total > 0; i++)
        act_pages_add(pages, random_below(random, (unsigned)total),
                      random_below(random, (unsigned)longest + 1));
}

static void sets_come_back(void **state)
{
    (void)state;
    static const uint64_t n_pages[] = {0,         1,         2,         7,     8,
                                       9,         63,        64,        65,    100,
                                       CHUNK - 1, CHUNK,     CHUNK + 1, 50000, 3 * CHUNK - 5,
                                       99999,     3 * CHUNK, 5 * CHUNK};
    struct random random = {1};
    for (size_t i = 0; i < 3 * N_ELEMENTS(n_pages); i++) {
        uint64_t n = n_pages[i / 3], size = n * PAGE - (n > 0 ? random_below(&random, 4096) : 0);
        struct act_pages *pages = pages_of(size);
        assert_int_equal(check_round_trip(pages), PROFILE_HEADER_BYTES + PROFILE_DIGEST_BYTES);
        for (uint64_t page = i % 2; page < n; page += 2)
            act_pages_add(pages, page, 1);
        check_round_trip(pages);
        act_pages_add(pages, 0, n);
        assert_int_equal(check_round_trip(pages),
                         PROFILE_HEADER_BYTES + PROFILE_DIGEST_BYTES + (n + CHUNK - 1) / CHUNK * 8);
        act_pages_free(pages);
        pages = pages_of(size);
        act_pages_add(pages, n - 1, 1);
        check_round_trip(pages);
        add_random(pages, &random);
        check_round_trip(pages);
        act_pages_free(pages);
    }
}

/* The hex digits of the block below "## Example"; how many bytes. */
static size_t read_example(uint8_t *bytes, size_t max)
{
    char path[512], line[256];
    bool is_below = false, is_in = false;
    size_t n = 0;
    snprintf(path, sizeof path, "%s/../../docs/PROFILE.md", getenv("ACTD_TEST_DATA"));
    FILE *file = fopen(path, "r");
    assert_non_null(file);
    while (fgets(line, sizeof line, file)) {
        is_below |= strncmp(line, "## Example", 10) == 0;
        if (is_below && strncmp(line, "```", 3) == 0)
            is_in = !is_in;
        unsigned byte;
        int len;
        for (const char *p = line; is_in && sscanf(p, "%2x%n", &byte, &len) == 1; p += len) {
            assert_true(n < max);
            bytes[n++] = (uint8_t)byte;
        }
    }
    fclose(file);
    return n;
}

static void the_documented_example_is_right(void **state)
{
    (void)state;
    uint8_t documented[1000], *data;
    size_t len, n = read_example(documented, sizeof documented);
    struct act_profile about = {0x0123456789abcdef, 270336, 4096, ACT_PAGES_MINCORE, 1800000000};
    struct act_pages *pages = pages_of(about.size_bytes);
    act_pages_add(pages, 1, 3);
    act_pages_add(pages, 64, 1);
    assert_int_equal(profile_encode(&about, pages, &data, &len), 0);
    assert_int_equal(n, len);
    assert_memory_equal(documented, data, len);
    act_pages_free(pages);
    free(data);
}

static double cpu_seconds(void)
{
    struct timespec now;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

/* The worst is a bit a page and a hundredth; what is in few pieces takes next to nothing. */
static void profiles_are_small(void **state)
{
    (void)state;
    uint64_t size = 100 * UINT64_C(1000000000);
    struct act_pages *pages = pages_of(size);
    uint64_t n = act_pages_total(pages), bitmap = n / 8;
    act_pages_add(pages, n / 3, n / 3);
    assert_in_range(check_round_trip(pages), 0, bitmap / 500);
    for (uint64_t page = 0; page < n; page += 1000)
        act_pages_add(pages, page, 1);
    assert_in_range(check_round_trip(pages), 0, bitmap / 40);
    act_pages_free(pages);
    pages = pages_of(size);
    for (uint64_t page = 0; page < n; page += 2)
        act_pages_add(pages, page, 1);
    double begin = cpu_seconds();
    size_t len = check_round_trip(pages);
    assert_in_range(len, bitmap, bitmap + bitmap / 100);
    print_message("100 GB, every other page: %zu bytes (bitmap: %llu), both ways in %.3f s\n", len,
                  (unsigned long long)bitmap, cpu_seconds() - begin);
    act_pages_free(pages);
}

/* A small profile with a chunk of each kind. */
static struct act_pages *some_pages(void)
{
    struct act_pages *pages = pages_of(3 * CHUNK * PAGE + 200 * PAGE - 7);
    act_pages_add(pages, 0, CHUNK);
    act_pages_add(pages, CHUNK + 7, 300);
    act_pages_add(pages, CHUNK + 20000, 12);
    for (uint64_t i = 0; i < 200; i += 2)
        act_pages_add(pages, 3 * CHUNK + i, 1);
    return pages;
}

/* Decodes what stands in memory of exactly that size, so that the sanitizer sees a byte too far. */
static int decode(const uint8_t *data, size_t len, const struct act_profile *wanted)
{
    char why[PROFILE_WHY_SIZE] = "";
    struct act_pages *pages = NULL;
    uint8_t *copy = malloc(len > 0 ? len : 1);
    assert_non_null(copy);
    memcpy(copy, data, len);
    int r = profile_decode(copy, len, wanted, NULL, &pages, why);
    assert_int_equal(r == 0, pages != NULL);
    assert_int_equal(r == 0, why[0] == '\0');
    act_pages_free(pages);
    free(copy);
    return r;
}

static void damage_is_seen(void **state)
{
    (void)state;
    struct act_pages *pages = some_pages();
    struct act_profile about = about_of(pages), any = about;
    uint8_t *data;
    size_t len;
    any.identity = 0;
    assert_int_equal(profile_encode(&about, pages, &data, &len), 0);
    data = realloc(data, len + 1);
    data[len] = 0;
    assert_int_equal(decode(data, len, &about), 0);
    assert_int_equal(decode(data, len, &any), 0);
    for (size_t i = 0; i < len; i++) {
        bool is_foreign = (i >= 24 && i < 40);
        for (unsigned byte = 1; byte < 256; byte++) {
            data[i] ^= (uint8_t)byte;
            assert_int_equal(decode(data, len, &any),
                             is_foreign ? ACT_PROFILE_FOREIGN : ACT_PROFILE_BROKEN);
            assert_int_equal(decode(data, len, &about), is_foreign || (i >= 16 && i < 24)
                                                            ? ACT_PROFILE_FOREIGN
                                                            : ACT_PROFILE_BROKEN);
            data[i] ^= (uint8_t)byte;
        }
    }
    for (size_t i = 0; i < len; i++)
        assert_int_equal(decode(data, i, &about), ACT_PROFILE_BROKEN);
    assert_int_equal(decode(data, len + 1, &about), ACT_PROFILE_BROKEN);
    free(data);
    act_pages_free(pages);
}

/* A profile of that many pages by hand, with a digest that is right. */
struct forged {
    uint8_t bytes[20000];
    size_t len;
};

static struct forged forge(uint64_t n_in_set, uint64_t n_chunks)
{
    struct forged forged = {.len = PROFILE_HEADER_BYTES};
    memcpy(forged.bytes, "ACTPROF1", 8);
    store_le(forged.bytes + 8, 1, 4);
    store_le(forged.bytes + 24, 2 * CHUNK * PAGE - 60 * PAGE, 8); /* the last chunk is shorter */
    store_le(forged.bytes + 48, n_in_set, 8);
    store_le(forged.bytes + 56, n_chunks, 4);
    store_le(forged.bytes + 60, PAGE, 4);
    return forged;
}

static void forge_chunk(struct forged *forged, uint64_t number, uint64_t kind, const void *content,
                        size_t len)
{
    uint8_t *p = forged->bytes + forged->len;
    store_le(p, number, 4);
    store_le(p + 4, kind, 2);
    store_le(p + 6, len, 2);
    memcpy(p + 8, content, len);
    forged->len += 8 + len;
}

static int forge_end(struct forged *forged)
{
    struct act_profile wanted = {.size_bytes = 2 * CHUNK * PAGE - 60 * PAGE};
    store_le(forged->bytes + forged->len, XXH3_64bits(forged->bytes, forged->len), 8);
    return decode(forged->bytes, forged->len + 8, &wanted);
}

#define LAST (CHUNK - 60) /* pages of the last chunk */

static void runs_that_lie_are_refused(void **state)
{
    (void)state;
    static const struct {
        const char *runs;
        size_t len;
        uint64_t n;
        bool is_fine;
    } cases[] = {
        {"\0\1", 2, 1, true},                 /* the first page */
        {"\5\1\1\3", 4, 4, true},             /* */
        {"\0\xc4\xff\1", 4, LAST, true},      /* all */
        {"\xc3\xff\1\1", 4, 1, true},         /* the last one */
        {"\xc4\xff\1\1", 4, 1, false},        /* the one behind it */
        {"\0\xc5\xff\1", 4, LAST + 1, false}, /* one more than all */
        {"\xc3\xff\1\2", 4, 2, false},        /* */
        {"\5\1\0\3", 4, 4, false},            /* two that are one */
        {"\5\0", 2, 0, false},                /* an empty one */
        {"", 0, 0, false},                    /* none */
        {"\5", 1, 0, false},                  /* half of one */
        {"\5\x81", 2, 1, false},              /* */
        {"\5\1\1", 3, 1, false},              /* */
        {"\5\x81\0", 3, 1, false},            /* a number longer than it must be */
        {"\5\x80\0", 3, 0, false},            /* */
        {"\5\x81\x80\x80\0", 5, 1, false},    /* */
        {"\5\xff\xff\xff\xff\xff\xff\xff\xff\x7f", 10, 1, false}, /* a large one */
        {"\xff\xff\x7f\1", 4, 1, false},                          /* */
        {"\5\1\xff\xff\1\1", 6, 2, false},                        /* */
    };
    for (size_t i = 0; i < N_ELEMENTS(cases); i++) {
        struct forged forged = forge(cases[i].n, 1);
        forge_chunk(&forged, 1, 2, cases[i].runs, cases[i].len);
        assert_int_equal(forge_end(&forged), cases[i].is_fine ? 0 : ACT_PROFILE_BROKEN);
    }
}

static void bitmaps_that_lie_are_refused(void **state)
{
    (void)state;
    uint8_t bits[4097] = {1};
    for (unsigned i = 0; i < 6; i++) {
        static const size_t lens[] = {LAST / 8 + 1, LAST / 8, LAST / 8 + 2, 0, 4096, 1};
        struct forged forged = forge(1, 1);
        forge_chunk(&forged, 1, 3, bits, lens[i]);
        assert_int_equal(forge_end(&forged), i == 0 ? 0 : ACT_PROFILE_BROKEN);
    }
    /* The last chunk's last byte has 4 pages. */
    for (unsigned bit = 0; bit < 8; bit++) {
        struct forged forged = forge(bit < LAST % 8 ? 2 : 1, 1); /* what the file has counts */
        bits[LAST / 8] = (uint8_t)(1 << bit);
        forge_chunk(&forged, 1, 3, bits, LAST / 8 + 1);
        assert_int_equal(forge_end(&forged), bit < LAST % 8 ? 0 : ACT_PROFILE_BROKEN);
    }
    bits[0] = bits[LAST / 8] = 0;
    struct forged forged = forge(0, 1);
    forge_chunk(&forged, 1, 3, bits, LAST / 8 + 1);
    assert_int_equal(forge_end(&forged), ACT_PROFILE_BROKEN);
}

/* Two chunks, in all orders, of all kinds, with right and wrong sums. */
static void chunks_that_lie_are_refused(void **state)
{
    (void)state;
    for (uint64_t a = 0; a < 4; a++)
        for (uint64_t b = 0; b < 4; b++)
            for (uint64_t n = 0; n < 4; n++) {
                struct forged forged = forge(2 * CHUNK - 60, n);
                forge_chunk(&forged, a, 1, "", 0);
                forge_chunk(&forged, b, 1, "", 0);
                bool is_fine = a == 0 && b == 1 && n == 2;
                assert_int_equal(forge_end(&forged), is_fine ? 0 : ACT_PROFILE_BROKEN);
            }
    for (uint64_t kind = 0; kind < 70000; kind += kind < 10 ? 1 : 4001) {
        struct forged forged = forge(CHUNK, 1);
        forge_chunk(&forged, 0, kind, "", 0);
        assert_int_equal(forge_end(&forged), kind == 1 ? 0 : ACT_PROFILE_BROKEN);
    }
    static const uint64_t sums[] = {0, 1, CHUNK - 1, CHUNK + 1, UINT64_MAX};
    for (size_t i = 0; i < N_ELEMENTS(sums); i++) {
        struct forged forged = forge(sums[i], 1);
        forge_chunk(&forged, 0, 1, "", 0);
        assert_int_equal(forge_end(&forged), ACT_PROFILE_BROKEN);
    }
    struct forged forged = forge(CHUNK, 1);
    forge_chunk(&forged, 0, 1, "x", 1); /* content where there is none */
    assert_int_equal(forge_end(&forged), ACT_PROFILE_BROKEN);
    forged = forge(CHUNK, 1);
    forge_chunk(&forged, 0, 1, "", 0);
    forged.len += 8; /* more than its chunks */
    assert_int_equal(forge_end(&forged), ACT_PROFILE_BROKEN);
    forged = forge(0, 1);
    forge_chunk(&forged, 2, 1, "", 0); /* behind the file, and so without a page */
    assert_int_equal(forge_end(&forged), ACT_PROFILE_BROKEN);
    forged = forge(0, 1);
    uint8_t bits[CHUNK / 8] = {1};
    forge_chunk(&forged, 2, 3, bits, sizeof bits);
    assert_int_equal(forge_end(&forged), ACT_PROFILE_BROKEN);
    forged = forge(CHUNK, 1);
    forge_chunk(&forged, 0, 1, "", 0);
    store_le(forged.bytes + 12, 3, 4); /* a source that there is not */
    assert_int_equal(forge_end(&forged), ACT_PROFILE_BROKEN);
}

static void assert_told(const struct act_error *error, const char *path, const char *what)
{
    assert_ptr_equal(strstr(error->message, path), error->message);
    assert_non_null(strstr(error->message, what));
}

static void files_come_back(void **state)
{
    (void)state;
    struct place place = place_open();
    struct act_pages *pages = some_pages(), *again = NULL;
    struct act_profile about = about_of(pages), found;
    struct act_error error;
    struct stat st;
    mode_t mask = umask(022);
    assert_int_equal(act_profile_read(place.path, &about, &found, &again, &error), -ENOENT);
    assert_told(&error, place.path, "No such file");
    assert_int_equal(act_profile_write(place.path, &about, pages, NULL), 0);
    assert_int_equal(act_profile_read(place.path, &about, &found, &again, &error), 0);
    assert_equal_abouts(&found, &about);
    assert_equal_sets(pages, again);
    assert_int_equal(stat(place.path, &st), 0);
    assert_int_equal(st.st_mode & 07777, 0600);
    /* Over the old one, as which it may be read. */
    assert_int_equal(chmod(place.path, 0640), 0);
    act_pages_add(pages, 5 * CHUNK / 2, 10);
    about.saved_s++;
    act_pages_free(again);
    assert_int_equal(act_profile_write(place.path, &about, pages, &error), 0);
    assert_int_equal(act_profile_read(place.path, &about, NULL, &again, NULL), 0);
    assert_equal_sets(pages, again);
    assert_int_equal(stat(place.path, &st), 0);
    assert_int_equal(st.st_mode & 07777, 0640);
    assert_int_equal(n_files(&place), 1);
    act_pages_free(again);
    act_pages_free(pages);
    umask(mask);
    place_close(&place);
}

static void other_files_are_refused(void **state)
{
    (void)state;
    struct place place = place_open();
    struct act_pages *pages = some_pages(), *none = NULL;
    struct act_profile about = about_of(pages), wanted = about;
    struct act_error error;
    assert_int_equal(act_profile_write(place.path, &about, pages, &error), 0);
    wanted.size_bytes++;
    assert_int_equal(act_profile_read(place.path, &wanted, NULL, &none, &error),
                     ACT_PROFILE_FOREIGN);
    assert_told(&error, place.path, "size");
    wanted = about;
    wanted.root_offset++;
    assert_int_equal(act_profile_read(place.path, &wanted, NULL, &none, &error),
                     ACT_PROFILE_FOREIGN);
    assert_told(&error, place.path, "root");
    wanted = about;
    wanted.identity++;
    assert_int_equal(act_profile_read(place.path, &wanted, NULL, &none, &error),
                     ACT_PROFILE_FOREIGN);
    assert_told(&error, place.path, "identity");
    /* Longer than any: refused for its length, not read. */
    assert_int_equal(truncate(place.path, INT64_C(1) << 40), 0);
    assert_int_equal(act_profile_read(place.path, &about, NULL, &none, &error), ACT_PROFILE_BROKEN);
    assert_told(&error, place.path, "longer");
    assert_told(&error, place.path, "delete it");
    assert_int_equal(truncate(place.path, 0), 0);
    assert_int_equal(act_profile_read(place.path, &about, NULL, &none, &error), ACT_PROFILE_BROKEN);
    assert_told(&error, place.path, "not a profile");
    assert_int_equal(unlink(place.path), 0);
    assert_null(none);
    act_pages_free(pages);
    place_close(&place);
}

static void write_bytes(const char *path, const char *bytes, size_t len)
{
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    assert_int_equal(fwrite(bytes, 1, len, file), len);
    assert_int_equal(fclose(file), 0);
}

/* A damaged profile is, and a file with nothing in it. */
static void what_is_no_profile_is_not_replaced(void **state)
{
    (void)state;
    static const char *const others[] = {"ACTree03", "ACTPROF", "x"};
    struct place place = place_open();
    struct act_pages *pages = some_pages(), *none = NULL;
    struct act_profile about = about_of(pages);
    struct act_error error;
    struct stat st;
    for (size_t i = 0; i < N_ELEMENTS(others); i++) {
        bool is_one = i == 1;
        write_bytes(place.path, others[i], strlen(others[i]));
        assert_int_equal(act_profile_read(place.path, &about, NULL, &none, &error),
                         ACT_PROFILE_BROKEN);
        assert_told(&error, place.path, is_one ? "delete it" : "name another file");
        assert_int_equal(act_profile_write(place.path, &about, pages, &error),
                         is_one ? 0 : -EEXIST);
        assert_int_equal(stat(place.path, &st), 0);
        assert_true(is_one || (size_t)st.st_size == strlen(others[i]));
        assert_int_equal(n_files(&place), 1);
    }
    assert_told(&error, place.path, "not a profile");
    write_bytes(place.path, "", 0);
    assert_int_equal(act_profile_write(place.path, &about, pages, &error), 0);
    act_pages_free(pages);
    place_close(&place);
}

static void what_is_no_file_is_refused_at_once(void **state)
{
    (void)state;
    struct place place = place_open();
    struct act_pages *pages = some_pages(), *none = NULL;
    struct act_profile about = about_of(pages);
    struct act_error error;
    assert_int_equal(mkfifo(place.path, 0600), 0);
    static const char *const others[] = {NULL, "/dev/zero", "/dev/tty", "/tmp"};
    for (size_t i = 0; i < N_ELEMENTS(others); i++) {
        const char *path = others[i] ? others[i] : place.path;
        int r = act_profile_read(path, &about, NULL, &none, &error);
        if (i != 2) /* there may be no terminal */
            assert_int_equal(r, ACT_PROFILE_BROKEN);
        assert_true(r != 0 && !none);
        assert_told(&error, path, "");
        assert_int_equal(act_profile_write(path, &about, pages, &error), -EINVAL);
        assert_told(&error, path, "not a regular file");
    }
    act_pages_free(pages);
    place_close(&place);
}

static void a_full_disk_leaves_the_old_one(void **state)
{
    (void)state;
    struct place place = place_open();
    struct act_pages *pages = some_pages(), *again;
    struct act_profile about = about_of(pages);
    struct act_error error;
    struct rlimit limit, before;
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &before), 0);
    limit = (struct rlimit){100, before.rlim_max};
    void (*handler)(int) = signal(SIGXFSZ, SIG_IGN);
    for (unsigned round = 0; round < 2; round++) {
        assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
        assert_int_equal(act_profile_write(place.path, &about, pages, &error), -EFBIG);
        assert_int_equal(setrlimit(RLIMIT_FSIZE, &before), 0);
        assert_told(&error, place.path, "make room");
        assert_int_equal(n_files(&place), round);
        if (round == 0)
            assert_int_equal(act_profile_write(place.path, &about, pages, &error), 0);
    }
    assert_int_equal(act_profile_read(place.path, &about, NULL, &again, &error), 0);
    assert_equal_sets(pages, again);
    signal(SIGXFSZ, handler);
    act_pages_free(again);
    /* A set of another file than it is said to be of. */
    about.size_bytes++;
    assert_int_equal(act_profile_write(place.path, &about, pages, &error), -EINVAL);
    assert_int_equal(act_profile_write("/nonexistent/profile", &about, pages, &error), -EINVAL);
    about.size_bytes--;
    assert_int_equal(act_profile_write("/nonexistent/profile", &about, pages, &error), -ENOENT);
    assert_told(&error, "/nonexistent/profile", "directory");
    act_pages_free(pages);
    place_close(&place);
}

/* Writes profiles without end, each of one kind of page, until it is killed. */
static void write_for_ever(const char *path, struct act_pages *const sets[2])
{
    for (unsigned i = 0;; i ^= 1) {
        struct act_profile about = about_of(sets[i]);
        about.saved_s = i;
        if (act_profile_write(path, &about, sets[i], NULL) != 0)
            _exit(1);
        (void)!write(3, "x", 1);
    }
}

#define KILLS 60

static void a_kill_leaves_the_old_or_the_new_one(void **state)
{
    (void)state;
    struct place place = place_open();
    struct act_pages *sets[2] = {pages_of(40 * CHUNK * PAGE), pages_of(40 * CHUNK * PAGE)}, *found;
    struct act_profile about = about_of(sets[0]), was;
    struct random random = {5};
    struct act_error error;
    unsigned n_left = 0, n_of[2] = {0};
    for (uint64_t i = 0; i < 40 * CHUNK; i += 2)
        act_pages_add(sets[i / 2 % 2], i, 1);
    assert_int_equal(act_profile_write(place.path, &about, sets[0], &error), 0);
    for (unsigned i = 0; i < KILLS; i++) {
        int ends[2], status;
        char byte;
        assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
        pid_t child = fork();
        assert_true(child >= 0);
        if (child == 0) {
            dup2(ends[1], 3);
            write_for_ever(place.path, sets);
        }
        close(ends[1]);
        assert_int_equal(read(ends[0], &byte, 1), 1);
        /* Not waited for anything: some moment in the middle of the next ones. */
        struct timespec moment = {0, random_below(&random, 8000000)};
        nanosleep(&moment, NULL);
        kill(child, SIGKILL);
        assert_int_equal(waitpid(child, &status, 0), child);
        assert_true(WIFSIGNALED(status));
        close(ends[0]);
        assert_int_equal(act_profile_read(place.path, &about, &was, &found, &error), 0);
        assert_in_range(was.saved_s, 0, 1);
        assert_equal_sets(found, sets[was.saved_s]);
        act_pages_free(found);
        n_of[was.saved_s]++;
        /* At most one name more, however many were killed. */
        assert_in_range(n_files(&place), 1, 2);
        n_left += n_files(&place) - 1;
    }
    print_message("%u and %u of each, a name was left %u times\n", n_of[0], n_of[1], n_left);
    assert_int_equal(act_profile_write(place.path, &about, sets[0], &error), 0);
    assert_int_equal(n_files(&place), 1);
    act_pages_free(sets[0]);
    act_pages_free(sets[1]);
    place_close(&place);
}

/* A name that a kill has left goes with the next writing; unless another process is writing, or
 * just holds the directory: nobody waits for that. */
static void a_left_name_is_removed(void **state)
{
    (void)state;
    struct place place = place_open();
    struct act_pages *pages = some_pages();
    struct act_profile about = about_of(pages);
    char left[96];
    snprintf(left, sizeof left, "%s/.act-%016llx", place.directory,
             (unsigned long long)XXH3_64bits("profile", 7));
    assert_int_equal(act_profile_write(place.path, &about, pages, NULL), 0);
    int directory = open(place.directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    for (unsigned is_held = 0; is_held < 2; is_held++) {
        int fd = open(left, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
        assert_true(fd >= 0);
        close(fd);
        assert_int_equal(n_files(&place), 2);
        if (is_held)
            assert_int_equal(flock(directory, LOCK_EX), 0);
        assert_int_equal(act_profile_write(place.path, &about, pages, NULL), 0);
        assert_int_equal(n_files(&place), is_held ? 2 : 1);
    }
    assert_int_equal(unlink(left), 0);
    close(directory);
    act_pages_free(pages);
    place_close(&place);
}

#define WRITERS 4
#define WRITES  100

/* Who writes the same profile at the same moment is not in anybody's way. */
static void several_may_write_the_same_one(void **state)
{
    (void)state;
    struct place place = place_open();
    struct act_pages *pages = some_pages(), *found;
    struct act_profile about = about_of(pages), was;
    pid_t children[WRITERS];
    for (unsigned i = 0; i < WRITERS; i++) {
        children[i] = fork();
        assert_true(children[i] >= 0);
        about.saved_s = i;
        for (unsigned k = 0; children[i] == 0 && k < WRITES; k++)
            if (act_profile_write(place.path, &about, pages, NULL) != 0)
                _exit(1);
        if (children[i] == 0)
            _exit(0);
    }
    for (unsigned i = 0; i < WRITERS; i++) {
        int status;
        assert_int_equal(waitpid(children[i], &status, 0), children[i]);
        assert_int_equal(status, 0);
    }
    assert_int_equal(n_files(&place), 1);
    assert_int_equal(act_profile_read(place.path, &about, &was, &found, NULL), 0);
    assert_in_range(was.saved_s, 0, WRITERS - 1);
    assert_equal_sets(found, pages);
    act_pages_free(found);
    act_pages_free(pages);
    place_close(&place);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sets_come_back),
        cmocka_unit_test(the_documented_example_is_right),
        cmocka_unit_test(profiles_are_small),
        cmocka_unit_test(damage_is_seen),
        cmocka_unit_test(runs_that_lie_are_refused),
        cmocka_unit_test(bitmaps_that_lie_are_refused),
        cmocka_unit_test(chunks_that_lie_are_refused),
        cmocka_unit_test(files_come_back),
        cmocka_unit_test(other_files_are_refused),
        cmocka_unit_test(what_is_no_profile_is_not_replaced),
        cmocka_unit_test(what_is_no_file_is_refused_at_once),
        cmocka_unit_test(a_full_disk_leaves_the_old_one),
        cmocka_unit_test(a_kill_leaves_the_old_or_the_new_one),
        cmocka_unit_test(a_left_name_is_removed),
        cmocka_unit_test(several_may_write_the_same_one),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
