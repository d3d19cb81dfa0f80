/* What the tests need and no program of the distribution does.
 *
 *   scene stuck         whoever reads its arguments hangs: its memory map is locked (mmap_lock)
 *   scene pid N         a child with the number N, by clone3(2), that executes sleep; ends with it
 *   scene unshare       after a line of standard input leaves its UTS namespace, without an event
 *   scene thread        the same of a second thread and its network namespace; after another line
 *                       that thread ends
 *   scene children      after a line its children would be in another time namespace
 *
 * Each says "ready" on standard output when that is so.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/fuse.h>
#include <linux/sched.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
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

static void reply(int fuse, const struct fuse_in_header *to, int error, void *body, size_t length)
{
	struct fuse_out_header head = {.len = sizeof head + length, .error = error, .unique = to->unique};
	struct iovec parts[] = {{&head, sizeof head}, {body, length}};
	must(writev(fuse, parts, length ? 2 : 1) >= 0 || errno == ENOENT, "reply");
}

/* One file of a mebibyte, which can be opened and whose contents never come. */
static void serve(int fuse)
{
	static char bytes[1 << 20];
	const struct fuse_in_header *in = (void *)bytes;
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	while (read(fuse, bytes, sizeof bytes) > 0) {
		struct fuse_init_out init = {.major = 7, .minor = 31, .max_write = 4096};
		struct fuse_attr_out attributes = {
			.attr_valid = 1000,
			.attr = {.ino = 1, .size = 1 << 20, .mode = S_IFREG | 0444, .nlink = 1},
		};
		struct fuse_open_out open = {0};
		switch (in->opcode) {
		case FUSE_INIT:
			reply(fuse, in, 0, &init, sizeof init);
			break;
		case FUSE_GETATTR:
			reply(fuse, in, 0, &attributes, sizeof attributes);
			break;
		case FUSE_OPEN:
			reply(fuse, in, 0, &open, sizeof open);
			break;
		case FUSE_READ:
		case FUSE_FORGET:
		case FUSE_BATCH_FORGET:
		case FUSE_INTERRUPT:
			break;
		default:
			reply(fuse, in, -ENOSYS, NULL, 0);
		}
	}
	_exit(0);
}

static char *page;

/* Holds the lock for reading, in a fault that never ends: a read of /proc/PID/mem does not let go. */
static void *read_page(void *unused)
{
	char byte;
	int memory = open("/proc/self/mem", O_RDONLY | O_CLOEXEC);
	must(memory >= 0, "/proc/self/mem");
	must(pread(memory, &byte, 1, (uintptr_t)page) == 1, "pread");
	return unused;
}

/* Waits for it for writing, and so does everybody after this one. */
static void *map_page(void *unused)
{
	usleep(100000);
	mmap(NULL, 4096, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	return unused;
}

static void stuck(void)
{
	char place[] = "/tmp/porthole-scene-XXXXXX", options[64];
	struct stat s;
	pthread_t thread;
	int fuse = open("/dev/fuse", O_RDWR | O_CLOEXEC);
	must(fuse >= 0, "/dev/fuse");
	int file = mkstemp(place);
	must(file >= 0, place);
	must(unshare(CLONE_NEWNS) == 0 && mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0, "unshare");
	snprintf(options, sizeof options, "fd=%d,rootmode=100444,user_id=0,group_id=0", fuse);
	must(mount("scene", place, "fuse", 0, options) == 0, "mount");
	pid_t server = fork();
	must(server >= 0, "fork");
	if (server == 0)
		serve(fuse);
	close(fuse);
	file = open(place, O_RDONLY | O_CLOEXEC);
	must(file >= 0 && fstat(file, &s) == 0, place);
	must(umount2(place, MNT_DETACH) == 0 && unlink(place) == 0, "umount");
	page = mmap(NULL, 4096, PROT_READ, MAP_PRIVATE, file, 0);
	must(page != MAP_FAILED, "mmap");
	must(prctl(PR_SET_NAME, "stuck") == 0, "name");
	/* Both first: this thread could make none any more. */
	must(pthread_create(&thread, NULL, map_page, NULL) == 0, "thread");
	must(pthread_create(&thread, NULL, read_page, NULL) == 0, "thread");
	usleep(200000);
	must(write(1, "ready\n", 6) == 6, "write");
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

static void *leave_alone(void *unused)
{
	char byte;
	must(read(0, &byte, 1) == 1, "read");
	must(unshare(CLONE_NEWNET) == 0, "unshare");
	must(read(0, &byte, 1) == 1, "read");
	return unused;
}

int main(int argc, char **argv)
{
	const char *what = argc > 1 ? argv[1] : "";
	char byte;
	if (!strcmp(what, "stuck"))
		stuck();
	else if (!strcmp(what, "pid") && argc == 3)
		numbered(atoi(argv[2]));
	else if (!strcmp(what, "thread")) {
		pthread_t thread;
		must(pthread_create(&thread, NULL, leave_alone, NULL) == 0, "thread");
		ready();
		for (;;)
			pause();
	} else if (!strcmp(what, "unshare") || !strcmp(what, "children")) {
		ready();
		must(read(0, &byte, 1) == 1, "read");
		must(unshare(!strcmp(what, "unshare") ? CLONE_NEWUTS : CLONE_NEWTIME) == 0, "unshare");
		for (;;)
			pause();
	}
	return 2;
}
