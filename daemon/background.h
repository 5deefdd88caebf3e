/*
 * background: how a process begins that works for the supervisor beside those who serve: it steps
 * back for them, and it ends when nobody wants to know any more what comes of it.
 */
#pragma once

/* control: its end of the control socket; the other end's closing ends the process at once,
 * whatever it waits for. */
void background_begin(int control);
