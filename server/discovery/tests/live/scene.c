/* What the tests need and no program of the distribution does.
 *
 *   scene stuck LONG    whoever reads its arguments hangs: the pages of LONG are under userfaultfd(2)
 *   scene pid N         a child with the number N, by clone3(2), that executes sleep; ends with it
 *   scene unshare       after a line of standard input leaves its UTS namespace, without an event
 *
 * Each says "ready" on standard output when that is so.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/sched.h>
#include <linux/userfaultfd.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

static void must(int ok, const char *what)
{
	if (ok)
		return;
	fprintf(stderr, "scene: %s: %s\n", what, strerror(errno));
	_exit(1);
}

static void ready(void)
{
	puts("ready");
	fflush(stdout);
}

static void stuck(char *argument)
{
	uintptr_t page = sysconf(_SC_PAGESIZE);
	uintptr_t begin = ((uintptr_t)argument + page) & ~(page - 1);
	uintptr_t end = ((uintptr_t)argument + strlen(argument)) & ~(page - 1);
	struct uffdio_api api = {.api = UFFD_API};
	struct uffdio_register range = {
		.range = {.start = begin, .len = end - begin},
		.mode = UFFDIO_REGISTER_MODE_MISSING,
	};
	must(end > begin, "the argument is too short");
	int fd = syscall(SYS_userfaultfd, O_CLOEXEC);
	must(fd >= 0 && ioctl(fd, UFFDIO_API, &api) == 0, "userfaultfd");
	must(ioctl(fd, UFFDIO_REGISTER, &range) == 0, "register");
	must(madvise((void *)begin, end - begin, MADV_DONTNEED) == 0, "madvise");
	must(prctl(PR_SET_NAME, "stuck") == 0, "name");
	ready();
	for (;;)
		pause();
}

static void numbered(pid_t wanted)
{
	struct clone_args args = {
		.exit_signal = SIGCHLD,
		.set_tid = (uintptr_t)&wanted,
		.set_tid_size = 1,
	};
	pid_t pid = syscall(SYS_clone3, &args, sizeof args);
	must(pid >= 0, "clone3");
	if (pid == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		execlp("sleep", "sleep", "2000", (char *)NULL);
		must(0, "sleep");
	}
	ready();
	waitpid(pid, NULL, 0);
}

int main(int argc, char **argv)
{
	const char *what = argc > 1 ? argv[1] : "";
	char byte;
	if (!strcmp(what, "stuck") && argc == 3)
		stuck(argv[2]);
	else if (!strcmp(what, "pid") && argc == 3)
		numbered(atoi(argv[2]));
	else if (!strcmp(what, "unshare")) {
		ready();
		must(read(0, &byte, 1) == 1, "read");
		must(unshare(CLONE_NEWUTS) == 0, "unshare");
		for (;;)
			pause();
	}
	return 2;
}
