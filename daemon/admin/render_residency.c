/*
 * render_residency: see render_residency.h. There is nothing in it but numbers and names of ours,
 * so it is printed.
 */
#include "daemon/admin/render_residency.h"

#include "base/clock.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

static void print_number(FILE *out, const char *name, bool is_known, uint64_t value)
{
    if (is_known)
        fprintf(out, "\"%s\":%" PRIu64 ",", name, value);
    else
        fprintf(out, "\"%s\":null,", name);
}

static void print_regions(FILE *out, const struct census_generation *generation)
{
    const char *comma = "";
    if (generation->source == RESIDENT_UNKNOWN) {
        fputs("\"regions\":null", out);
        return;
    }
    fputs("\"regions\":[", out);
    for (unsigned i = 0; i < generation->n_regions; i++, comma = ",")
        fprintf(out, "%s%" PRIu32, comma, generation->regions[i]);
    fputs("]", out);
}

static void print_generation(FILE *out, const struct census_generation *generation)
{
    uint64_t now = clock_ms(), asked = generation->asked_ms;
    bool is_known = generation->source != RESIDENT_UNKNOWN;
    /* Text: who reads numbers as floating point would lose bits. */
    fprintf(out, "{\"number\":%" PRIu64 ",\"identity\":\"%" PRIu64 "\",\"is_served\":%s,",
            generation->number, generation->identity, generation->is_served ? "true" : "false");
    print_number(out, "size_bytes", true, generation->size_bytes);
    fprintf(out, "\"source\":\"%s\",", resident_source_name(generation->source));
    print_number(out, "resident_bytes", is_known, generation->resident_bytes);
    print_number(out, "age_ms", asked != 0, now > asked ? now - asked : 0);
    print_number(out, "took_ms", asked != 0, generation->took_ms);
    print_number(out, "region_bytes", true, generation->region_bytes);
    print_regions(out, generation);
    fputs("}", out);
}

int render_residency(const struct census_view *view, char **ret)
{
    char *text = NULL;
    size_t size;
    FILE *out = open_memstream(&text, &size);
    if (!out)
        return -ENOMEM;
    fprintf(out, "{\"page_bytes\":%d,\"generations\":[", ACT_PAGE_BYTES);
    for (unsigned i = 0; i < view->n; i++) {
        if (i > 0)
            fputs(",", out);
        print_generation(out, &view->generations[i]);
    }
    fputs("]}\n", out);
    bool is_failed = ferror(out);
    if (fclose(out) != 0 || is_failed) {
        free(text);
        return -ENOMEM;
    }
    *ret = text;
    return 0;
}
