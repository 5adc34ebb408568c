#pragma once

namespace penstock {

// Ignores every signal that would end this process by default and that nobody means by it: those
// for users (SIGUSR1 and 2), for timers, for I/O, real-time ones, a hang-up. What ends a program on
// purpose stays (SIGTERM, SIGINT, SIGQUIT, SIGKILL), and so does what tells of a fault (SIGSEGV,
// SIGABRT, …). A signal that means something is caught afterwards, by net::SignalWatch.
//
// For main(), before there is any thread: until a watch exists, a signal that comes too early is
// lost instead of deadly.
void ignoreStraySignals();

}  // namespace penstock
