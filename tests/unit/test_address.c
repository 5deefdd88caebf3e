/*
 * address: what people write, good and bad.
 */
#include "base/address.h"
#include "unit.h"

#include <netinet/in.h>
#include <stddef.h>
#include <sys/un.h>

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
        "tcp::",
        "tcp::x",
        "tcp:65536",
        "tcp::65536",
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

static void without_a_host_it_is_loopback(void **state)
{
    (void)state;
    static const char *const given[] = {"tcp:7411", "tcp::7411"};
    for (size_t i = 0; i < N_ELEMENTS(given); i++) {
        struct address address;
        const char *reason = "";
        char text[ADDRESS_TEXT_MAX];
        assert_int_equal(address_parse(given[i], &address, &reason), 0);
        assert_string_equal(address.text, "tcp:127.0.0.1:7411");
        address_format((struct sockaddr *)&address.sockaddr, address.len, text, sizeof text);
        assert_string_equal(text, address.text);
    }
}

static void what_others_reach_is_not_local(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        bool is_local;
    } cases[] = {
        {"unix:/x", true},
        {"tcp:127.0.0.1:1", true},
        {"tcp:127.9.8.7:1", true},
        {"tcp:[::1]:1", true},
        {"tcp:[::ffff:127.0.0.1]:1", true},
        {"tcp:0.0.0.0:1", false},
        {"tcp:[::]:1", false},
        {"tcp:10.1.2.3:1", false},
        {"tcp:[::ffff:10.1.2.3]:1", false},
        {"tcp:128.0.0.1:1", false},
        {"tcp:[fe80::1]:1", false},
    };
    for (size_t i = 0; i < N_ELEMENTS(cases); i++) {
        struct address address;
        const char *reason = "";
        assert_int_equal(address_parse(cases[i].text, &address, &reason), 0);
        assert_int_equal(address_is_local((struct sockaddr *)&address.sockaddr), cases[i].is_local);
    }
}

static void an_abstract_socket_has_an_at(void **state)
{
    (void)state;
    struct sockaddr_un un = {.sun_family = AF_UNIX, .sun_path = "\0name"};
    char text[ADDRESS_TEXT_MAX];
    socklen_t len = offsetof(struct sockaddr_un, sun_path) + 5;
    address_format((struct sockaddr *)&un, len, text, sizeof text);
    assert_string_equal(text, "unix:@name");
    address_format((struct sockaddr *)&un, offsetof(struct sockaddr_un, sun_path), text,
                   sizeof text);
    assert_string_equal(text, "unix:");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(good_addresses_are_parsed),
        cmocka_unit_test(bad_addresses_are_told),
        cmocka_unit_test(without_a_host_it_is_loopback),
        cmocka_unit_test(what_others_reach_is_not_local),
        cmocka_unit_test(an_abstract_socket_has_an_at),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
