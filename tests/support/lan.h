/* Three machines on a wire, for tests that cut it: network namespaces, each with an address of its own, on a
 * bridge in a fourth. The servers of a pair are 0 and 1; the test itself, the broker and all clients are
 * LAN_REST. It exists only in namespaces of this process and ends with it; the host's network is neither seen
 * nor touched. Root may make such namespaces, and so may anybody where user namespaces are allowed.
 *
 *     if (lan_make() < 0) // first thing in main: says why not
 *         return 1;
 *     lan_enter(0);
 *     ... what is started now runs on machine 0
 *     lan_leave();
 *     lan_drop(0, 1, "numgen random mod 100 < 30"); // of what 0 sends to 1
 *     lan_mend();
 */
#ifndef TESTS_SUPPORT_LAN_H
#define TESTS_SUPPORT_LAN_H

enum { LAN_REST = 2, LAN_MACHINES };

/* Before this process has threads. 0, or -1 after it has said on standard error what failed. */
int lan_make(void);
const char *lan_address(int machine);

/* The calling thread, and what it starts, is on this machine; back to LAN_REST. */
void lan_enter(int machine);
void lan_leave(void);

/* From now on packets on their way from one to the other are lost: those that nftables' words match, "": all.
 * The other direction is as it was. */
void lan_drop(int from, int to, const char *words);
/* Both directions. */
void lan_cut(int a, int b);
/* How many packets to this machine have been lost since the last mend. */
unsigned long lan_lost(int to);
void lan_mend(void);

#endif
