/*
 * control: every message comes out as it went in, and neither end hangs or leaks, whatever the
 * other one does.
 */
#include "daemon/control.h"
#include "unit.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

static unsigned count_fds(void)
{
    unsigned n = 0;
    DIR *dir = opendir("/proc/self/fd");
    assert_non_null(dir);
    while (readdir(dir))
        n++;
    closedir(dir);
    return n;
}

static void assert_same_file(int a, int b)
{
    struct stat sa, sb;
    assert_int_equal(fstat(a, &sa), 0);
    assert_int_equal(fstat(b, &sb), 0);
    assert_int_equal(sa.st_ino, sb.st_ino);
    assert_int_equal(sa.st_dev, sb.st_dev);
}

static struct control_message make(uint32_t type)
{
    struct control_message message;
    memset(&message, (int)type, sizeof message);
    message.type = type;
    message.number = UINT64_MAX - type;
    memset(message.generation.remark, 'r', sizeof message.generation.remark);
    message.generation.remark[sizeof message.generation.remark - 1] = '\0';
    memset(message.text, 't', sizeof message.text);
    message.text[sizeof message.text - 1] = '\0';
    return message;
}

static bool has_text(uint32_t type)
{
    return type == CONTROL_DAMAGE || type == CONTROL_DAMAGED || type == CONTROL_UNMAPPABLE ||
           type == CONTROL_REFUSED;
}

static bool has_generation(uint32_t type)
{
    return type == CONTROL_GENERATION || type == CONTROL_CANDIDATE || type == CONTROL_PROGRESS ||
           type == CONTROL_REFUSED;
}

static void every_type_comes_out_as_it_went_in(void **state)
{
    (void)state;
    int fds[2];
    assert_int_equal(control_pair(fds), 0);
    for (uint32_t type = CONTROL_GENERATION; type <= CONTROL_PROGRESS; type++) {
        int passed = type % 2 == 1 ? fds[0] : -1, got = -2;
        struct control_message sent = make(type), message;
        assert_int_equal(control_send(fds[0], &sent, passed), 0);
        assert_int_equal(control_receive(fds[1], &message, &got), 0);
        assert_int_equal(message.type, type);
        assert_int_equal(message.number, sent.number);
        if (has_generation(type))
            assert_memory_equal(&message.generation, &sent.generation, sizeof sent.generation);
        if (has_text(type))
            assert_string_equal(message.text, sent.text);
        assert_int_equal(got >= 0, passed >= 0);
        if (got >= 0) {
            assert_same_file(got, passed);
            assert_int_equal(fcntl(got, F_GETFD), FD_CLOEXEC);
            close(got);
        }
    }
    close(fds[0]);
    close(fds[1]);
}

static void nothing_is_an_outcome(void **state)
{
    (void)state;
    int fds[2], passed = 77;
    struct control_message message = {.type = 78};
    assert_int_equal(control_pair(fds), 0);
    for (unsigned i = 0; i < 2; i++) {
        assert_int_equal(fcntl(fds[i], F_GETFD), FD_CLOEXEC);
        assert_int_equal(control_receive(fds[i], &message, &passed), CONTROL_EMPTY);
    }
    assert_int_equal(passed, 77);
    assert_int_equal(message.type, 78);
    close(fds[0]);
    close(fds[1]);
}

static void a_full_socket_is_an_outcome_and_loses_nothing(void **state)
{
    (void)state;
    int fds[2], passed;
    struct control_message message = {.type = CONTROL_TAKEN};
    uint64_t n = 0;
    assert_int_equal(control_pair(fds), 0);
    for (;; n++) {
        message.number = n;
        int r = control_send(fds[0], &message, fds[0]);
        if (r == CONTROL_FULL)
            break;
        assert_int_equal(r, 0);
    }
    assert_true(n > 100);
    for (uint64_t i = 0; i < n; i++) {
        assert_int_equal(control_receive(fds[1], &message, &passed), 0);
        assert_int_equal(message.number, i);
        assert_true(passed >= 0);
        close(passed);
    }
    assert_int_equal(control_receive(fds[1], &message, &passed), CONTROL_EMPTY);
    assert_int_equal(control_send(fds[0], &message, -1), 0);
    close(fds[0]);
    close(fds[1]);
}

static void what_was_said_is_read_before_the_end(void **state)
{
    (void)state;
    /* The second time with something that the one who closes has not read. */
    for (unsigned is_unread = 0; is_unread < 2; is_unread++) {
        int fds[2], passed;
        struct control_message message = make(CONTROL_REFUSED), got;
        assert_int_equal(control_pair(fds), 0);
        assert_int_equal(control_send(fds[0], &message, -1), 0);
        assert_int_equal(control_send(fds[0], &message, fds[0]), 0);
        if (is_unread)
            assert_int_equal(control_send(fds[1], &message, -1), 0);
        close(fds[0]);
        assert_int_equal(control_receive(fds[1], &got, &passed), 0);
        assert_int_equal(passed, -1);
        assert_int_equal(control_receive(fds[1], &got, &passed), 0);
        assert_true(passed >= 0);
        close(passed);
        assert_int_equal(control_receive(fds[1], &got, &passed), CONTROL_END);
        assert_int_equal(control_receive(fds[1], &got, &passed), CONTROL_END);
        assert_int_equal(control_send(fds[1], &message, -1), -EPIPE);
        close(fds[1]);
    }
}

static void send_raw(int fd, const void *p, size_t len, const int *passed, unsigned n)
{
    union {
        struct cmsghdr header;
        char bytes[CMSG_SPACE(4 * sizeof(int))];
    } control = {0};
    struct iovec part = {.iov_base = (void *)(uintptr_t)p, .iov_len = len};
    struct msghdr header = {.msg_iov = &part, .msg_iovlen = 1};
    if (n > 0) {
        header.msg_control = &control;
        header.msg_controllen = CMSG_SPACE(n * sizeof(int));
        control.header.cmsg_level = SOL_SOCKET;
        control.header.cmsg_type = SCM_RIGHTS;
        control.header.cmsg_len = CMSG_LEN(n * sizeof(int));
        memcpy(CMSG_DATA(&control.header), passed, n * sizeof(int));
    }
    assert_int_equal(sendmsg(fd, &header, MSG_NOSIGNAL), len);
}

static void a_wrong_length_is_refused_and_leaks_nothing(void **state)
{
    (void)state;
    int fds[2], passed;
    struct control_message message = make(CONTROL_REFUSED), got;
    const size_t lengths[] = {1, 4, 8, 15, sizeof message - 1, sizeof message / 2};
    char longer[sizeof message + 64] = {0};
    memcpy(longer, &message, sizeof message);
    assert_int_equal(control_pair(fds), 0);
    unsigned n = count_fds();
    for (size_t i = 0; i < N_ELEMENTS(lengths); i++) {
        send_raw(fds[0], &message, lengths[i], fds, 1);
        assert_int_equal(control_receive(fds[1], &got, &passed), -EBADMSG);
        assert_int_equal(count_fds(), n);
    }
    message.type = CONTROL_HEARTBEAT;
    send_raw(fds[0], &message, sizeof message, fds, 1);
    assert_int_equal(control_receive(fds[1], &got, &passed), -EBADMSG);
    assert_int_equal(count_fds(), n);
    close(fds[0]);
    close(fds[1]);
}

static void more_descriptors_than_one_are_not_taken(void **state)
{
    (void)state;
    int fds[2], passed = -1;
    struct control_message message = {.type = CONTROL_HEARTBEAT, .number = 5}, got;
    assert_int_equal(control_pair(fds), 0);
    unsigned n = count_fds();
    send_raw(fds[0], &message, offsetof(struct control_message, generation), fds, 2);
    assert_int_equal(control_receive(fds[1], &got, &passed), 0);
    assert_int_equal(got.number, 5);
    if (passed >= 0)
        close(passed);
    assert_int_equal(count_fds(), n);
    close(fds[0]);
    close(fds[1]);
}

static void text_ends_whatever_was_sent(void **state)
{
    (void)state;
    int fds[2], passed;
    struct control_message message, got;
    memset(&message, 'x', sizeof message);
    message.type = CONTROL_REFUSED;
    assert_int_equal(control_pair(fds), 0);
    assert_int_equal(control_send(fds[0], &message, -1), 0);
    assert_int_equal(control_receive(fds[1], &got, &passed), 0);
    assert_int_equal(strnlen(got.text, sizeof got.text), sizeof got.text - 1);
    assert_int_equal(strnlen(got.generation.remark, sizeof got.generation.remark),
                     sizeof got.generation.remark - 1);
    close(fds[0]);
    close(fds[1]);
}

static void without_room_for_the_descriptor_the_message_comes(void **state)
{
    (void)state;
    int fds[2], passed = 0;
    struct rlimit before, none;
    struct control_message message = {.type = CONTROL_CONNECTION, .number = 5}, got;
    assert_int_equal(control_pair(fds), 0);
    assert_int_equal(control_send(fds[0], &message, fds[0]), 0);
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &before), 0);
    none = before;
    none.rlim_cur = 0;
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);
    int r = control_receive(fds[1], &got, &passed);
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &before), 0);
    assert_int_equal(r, 0);
    assert_int_equal(got.number, 5);
    assert_int_equal(passed, -1);
    close(fds[0]);
    close(fds[1]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_type_comes_out_as_it_went_in),
        cmocka_unit_test(nothing_is_an_outcome),
        cmocka_unit_test(a_full_socket_is_an_outcome_and_loses_nothing),
        cmocka_unit_test(what_was_said_is_read_before_the_end),
        cmocka_unit_test(a_wrong_length_is_refused_and_leaks_nothing),
        cmocka_unit_test(more_descriptors_than_one_are_not_taken),
        cmocka_unit_test(text_ends_whatever_was_sent),
        cmocka_unit_test(without_room_for_the_descriptor_the_message_comes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
