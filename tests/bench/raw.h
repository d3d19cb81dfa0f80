/* What the parts of the floor share. */
#include <errno.h>
#include <sys/types.h>

/* Ends it with a sentence unless `ok`. */
void must(int ok, const char *what);

/* Starts nft(8) on this file of rules. */
pid_t filter_begins(const char *rules);
/* Puts the network namespace of a process on the bridge raw0, which is there. */
void attach(pid_t pid);
/* The other end, from inside. */
void configure_inside(void);
/* Takes away what attach() made. */
void detach(void);
