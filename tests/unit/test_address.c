/*
 * address: what people write, good and bad.
 */
#include "base/address.h"
#include "unit.h"

#include <netinet/in.h>

static void good_addresses_are_parsed(void **state)
{
    (void)state;
    static const char *const good[] = {
        "unix:/run/actd/actd.sock", "unix:x",         "tcp:127.0.0.1:0",
        "tcp:127.0.0.1:65535",      "tcp:[::1]:7411",
    };
    for (size_t i = 0; i < N_ELEMENTS(good); i++) {
        struct address address;
        const char *reason = "";
        assert_int_equal(address_parse(good[i], &address, &reason), 0);
        assert_string_equal(address.text, good[i]);
        char text[ADDRESS_TEXT_MAX];
        address_format((struct sockaddr *)&address.sockaddr, address.len, text, sizeof text);
        assert_string_equal(text, good[i]);
    }
}

static void bad_addresses_are_told(void **state)
{
    (void)state;
    char long_path[200] = "unix:";
    memset(long_path + 5, 'a', 108);
    const char *const bad[] = {
        "",
        "/run/actd.sock",
        "unix:",
        "tcp:",
        "tcp:127.0.0.1",
        "tcp::80",
        "tcp:127.0.0.1:",
        "tcp:1.2.3.4:x",
        "tcp:::1:80",
        "tcp:[::1:80",
        "tcp:[]:80",
        "tcp:1.2.3.4:65536",
        "tcp:1.2.3.4:-1",
        "tcp:1.2.3.4: 1",
        "udp:1.2.3.4:1",
        "tcp:1.2.3.4:0x10",
        "tcp:1.2.3.4:100000",
        long_path,
    };
    for (size_t i = 0; i < N_ELEMENTS(bad); i++) {
        struct address address;
        const char *reason = "";
        assert_int_equal(address_parse(bad[i], &address, &reason), ADDRESS_BAD);
        assert_true(strlen(reason) > 5);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(good_addresses_are_parsed),
        cmocka_unit_test(bad_addresses_are_told),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
