/* What the tests need and no program of the distribution does.
 *
 *   scene containers N   N sleeping children, each with PID, mount and UTS namespaces of its own
 *   scene init PID       a child of that number in such namespaces, by clone3(2) (`set_tid`)
 *   scene born N MS      N times two processes, one that ends at once and one after so many
 *                        milliseconds; each of the latter is told: "born PID"
 *
 * Each says "ready" on standard output when that is so, and ends with its children when standard
 * input does.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <linux/sched.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define CONTAINER (CLONE_NEWPID | CLONE_NEWNS | CLONE_NEWUTS)

static void must(int ok, const char *what)
{
	if (ok)
		return;
	fprintf(stderr, "scene: %s: %s\n", what, strerror(errno));
	_exit(1);
}

/* A child that sleeps and ends with its parent; numbered where `wanted` is not 0. */
static pid_t child(uint64_t flags, pid_t wanted)
{
	/* From the innermost PID namespace outwards: the first process of its own is 1 there. */
	pid_t numbers[] = {1, wanted};
	int own = (flags & CLONE_NEWPID) != 0;
	struct clone_args args = {
		.flags = flags,
		.exit_signal = SIGCHLD,
		.set_tid = wanted ? (uintptr_t)(own ? numbers : numbers + 1) : 0,
		.set_tid_size = wanted ? 1 + own : 0,
	};
	pid_t pid = syscall(SYS_clone3, &args, sizeof args);
	must(pid >= 0, "clone3");
	if (pid == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		/* Or it would keep the pipes open by which one knows that its parent has ended. */
		close(0);
		close(1);
		for (;;)
			pause();
	}
	return pid;
}

/* Children that end with their parent are reaped by somebody else, who may take long. */
static void until_hangup(const pid_t *pids, int n)
{
	char byte;
	puts("ready");
	fflush(stdout);
	while (read(0, &byte, 1) > 0)
		;
	for (int i = 0; i < n; i++)
		kill(pids[i], SIGKILL);
	for (int i = 0; i < n; i++)
		waitpid(pids[i], NULL, 0);
}

static void sleep_ms(long ms)
{
	struct timespec t = {ms / 1000, (ms % 1000) * 1000000L};
	while (nanosleep(&t, &t))
		;
}

static void born(int n, long ms)
{
	signal(SIGCHLD, SIG_IGN);
	for (int i = 0; i < n; i++) {
		pid_t pid = fork();
		must(pid >= 0, "fork");
		if (pid == 0)
			_exit(0);
		pid = fork();
		must(pid >= 0, "fork");
		if (pid == 0) {
			prctl(PR_SET_PDEATHSIG, SIGKILL);
			sleep_ms(ms);
			_exit(0);
		}
		printf("born %d\n", pid);
		fflush(stdout);
		sleep_ms(2);
	}
	sleep_ms(ms);
}

int main(int argc, char **argv)
{
	const char *what = argc > 2 ? argv[1] : "";
	int number = argc > 2 ? atoi(argv[2]) : 0;
	int n = !strcmp(what, "containers") ? number : 1;
	pid_t *pids = calloc(n > 0 ? n : 1, sizeof *pids);
	must(pids != NULL, "calloc");
	if (!strcmp(what, "containers")) {
		for (int i = 0; i < n; i++)
			pids[i] = child(CONTAINER, 0);
	} else if (!strcmp(what, "init")) {
		pids[0] = child(CONTAINER, number);
	} else if (!strcmp(what, "born") && argc == 4) {
		born(number, atol(argv[3]));
		n = 0;
	} else {
		return 2;
	}
	until_hangup(pids, n);
	free(pids);
	return 0;
}
