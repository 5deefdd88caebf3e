/*
 * render_residency: of two generations, and of what is not known.
 */
#include "daemon/admin/render_residency.h"

#include "base/clock.h"
#include "unit.h"

#include <inttypes.h>
#include <json-c/json.h>
#include <stdlib.h>
#include <string.h>

static struct census_view view;

static json_object *parsed(void)
{
    char *text = NULL;
    assert_int_equal(render_residency(&view, &text), 0);
    json_object *root = json_tokener_parse(text);
    assert_non_null(root);
    free(text);
    return root;
}

static json_object *member(json_object *object, const char *name)
{
    json_object *value = NULL;
    assert_true(json_object_object_get_ex(object, name, &value));
    return value;
}

static uint64_t number(json_object *object, const char *name)
{
    assert_true(json_object_is_type(member(object, name), json_type_int));
    return json_object_get_uint64(member(object, name));
}

static json_object *generation(json_object *root, size_t at)
{
    return json_object_array_get_idx(member(root, "generations"), at);
}

static void nothing_is_served(void **state)
{
    (void)state;
    view = (struct census_view){0};
    json_object *root = parsed();
    assert_int_equal(number(root, "page_bytes"), 4096);
    assert_int_equal(json_object_array_length(member(root, "generations")), 0);
    json_object_put(root);
}

static void both_generations_are_told(void **state)
{
    (void)state;
    view = (struct census_view){.n = 2};
    view.generations[0] = (struct census_generation){.number = 7,
                                                     .identity = UINT64_MAX,
                                                     .size_bytes = (uint64_t)1 << 40,
                                                     .is_served = true,
                                                     .region_bytes = (uint64_t)1 << 30,
                                                     .asked_ms = clock_ms() - 50,
                                                     .took_ms = 12,
                                                     .source = RESIDENT_MINCORE,
                                                     .resident_bytes = UINT64_C(123456789012),
                                                     .n_regions = CENSUS_REGIONS};
    for (unsigned i = 0; i < CENSUS_REGIONS; i++)
        view.generations[0].regions[i] = 262144 - i;
    view.generations[1] =
        (struct census_generation){.number = 8, .size_bytes = 100, .region_bytes = 4096};
    json_object *root = parsed(), *first = generation(root, 0), *second = generation(root, 1);
    assert_int_equal(json_object_array_length(member(root, "generations")), 2);
    assert_int_equal(number(first, "number"), 7);
    assert_string_equal(json_object_get_string(member(first, "identity")), "18446744073709551615");
    assert_true(json_object_get_boolean(member(first, "is_served")));
    assert_string_equal(json_object_get_string(member(first, "source")), "mincore");
    assert_true(number(first, "resident_bytes") == UINT64_C(123456789012));
    assert_in_range(number(first, "age_ms"), 50, 60000);
    assert_int_equal(number(first, "took_ms"), 12);
    json_object *regions = member(first, "regions");
    assert_int_equal(json_object_array_length(regions), CENSUS_REGIONS);
    for (unsigned i = 0; i < CENSUS_REGIONS; i++)
        assert_int_equal(json_object_get_int(json_object_array_get_idx(regions, i)), 262144 - i);
    assert_false(json_object_get_boolean(member(second, "is_served")));
    assert_string_equal(json_object_get_string(member(second, "source")), "unknown");
    assert_int_equal(number(second, "region_bytes"), 4096);
    static const char *const unknown[] = {"resident_bytes", "age_ms", "took_ms", "regions"};
    for (size_t i = 0; i < N_ELEMENTS(unknown); i++)
        assert_null(member(second, unknown[i]));
    json_object_put(root);
}

/* Somebody has looked, and nobody could tell. */
static void the_age_of_not_knowing_is_told(void **state)
{
    (void)state;
    view = (struct census_view){.n = 1};
    view.generations[0] = (struct census_generation){.number = 1, .asked_ms = clock_ms()};
    json_object *root = parsed();
    assert_in_range(number(generation(root, 0), "age_ms"), 0, 60000);
    assert_int_equal(number(generation(root, 0), "took_ms"), 0);
    assert_null(member(generation(root, 0), "regions"));
    json_object_put(root);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nothing_is_served),
        cmocka_unit_test(both_generations_are_told),
        cmocka_unit_test(the_age_of_not_knowing_is_told),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
