/*
 * unit: cmocka with what it needs before it. Include this instead of cmocka.h.
 */
#pragma once

/* In this order: cmocka.h uses the others and does not include them. */
/* clang-format off */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
/* clang-format on */

#define N_ELEMENTS(array) (sizeof(array) / sizeof *(array))
