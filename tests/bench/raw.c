/* The floor under Porthole's numbers: the same work by bare system calls and nothing else.
 *
 *   raw create N GAP_MS BUSYBOX [LAYERS [RULES]]   two numbers a line: until its program runs, until
 *                                 all is removed; of so many layers; on the bridge raw0, with these
 *                                 rules for nft(8)
 *   raw exec N GAP_MS PID         until `true`, joined to the namespaces of PID, has ended
 *   raw prompt N GAP_MS PID       until a shell, on a terminal of PID's own, has written a byte
 *   raw output MIB BUSYBOX        seconds until that much has come through a terminal, and the
 *                                 reader's seconds of CPU time
 *   raw echo N GAP_MS BUSYBOX [flood]   until a typed byte comes back; beside a terminal in flood
 *   raw many N SECONDS BUSYBOX    bytes a second over N terminals in flood, read by turns
 *   raw sync N GAP_MS DIRECTORY    until a page appended to a file is on the disk
 *   raw scan N all|ns             reading every process of /proc, or only its namespaces
 *   raw crowd N                   N sleeping processes until standard input ends
 *   raw churn GAP_MS BUSYBOX      one born and one ended every so often, until standard input ends
 *
 * Times are microseconds, one a line. Exits with 1 and a sentence if anything fails.
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/nsfs.h>
#include <net/if.h>
#include <poll.h>
#include <pty.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>

#include "raw.h"

void must(int ok, const char *what)
{
	if (ok)
		return;
	fprintf(stderr, "raw: %s: %s\n", what, strerror(errno));
	_exit(1);
}

static double now(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1e6 + t.tv_nsec / 1e3;
}

static void pause_ms(int ms)
{
	struct timespec t = {ms / 1000, (ms % 1000) * 1000000L};
	if (ms)
		nanosleep(&t, NULL);
}

static void text(char *to, size_t size, const char *format, ...)
{
	va_list list;
	va_start(list, format);
	must(vsnprintf(to, size, format, list) < (int)size, "a path is too long");
	va_end(list);
}

static void put(const char *path, const char *what)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC);
	must(fd >= 0 && write(fd, what, strlen(what)) >= 0, path);
	close(fd);
}

static void reap(pid_t pid)
{
	int status;
	must(waitpid(pid, &status, 0) == pid, "waitpid");
	must(WIFEXITED(status) && WEXITSTATUS(status) == 0, "a child failed");
}

/* ---- create ---- */

#define ID_BASE "1879048192" /* far from what anybody uses */
#define ID_BASE_NUMBER 1879048192
#define CGROUPS "/sys/fs/cgroup/"

static const char *const controllers[] = {"memory", "cpu", "pids", "freezer", "unified"};
#define CONTROLLERS (sizeof controllers / sizeof *controllers)

static int group_path(char *path, size_t controller, const char *file)
{
	struct stat s;
	text(path, 256, CGROUPS "%s", controllers[controller]);
	if (stat(path, &s))
		return 0; /* one tree for all: only the last is used, below */
	text(path, 256, CGROUPS "%s/porthole-raw-%d%s", controllers[controller], getpid(), file);
	return 1;
}

static void groups(int make)
{
	static const char *const limits[][2] = {
		{"/memory.limit_in_bytes", "536870912"}, {"/cpu.cfs_quota_us", "100000"}, {"/pids.max", "256"}};
	char path[256];
	for (size_t i = 0; i < CONTROLLERS; i++) {
		if (!group_path(path, i, ""))
			continue;
		if (!make) {
			while (rmdir(path) && errno == EBUSY)
				;
			continue;
		}
		must(mkdir(path, 0755) == 0, path);
		if (i < 3 && group_path(path, i, limits[i][0]))
			put(path, limits[i][1]);
	}
}

static void join_groups(pid_t parent)
{
	char path[256];
	for (size_t i = 0; i < CONTROLLERS; i++) {
		struct stat s;
		const char *file = i + 1 == CONTROLLERS ? "cgroup.procs" : "tasks";
		text(path, sizeof path, CGROUPS "%s/porthole-raw-%d/%s", controllers[i], parent, file);
		if (stat(path, &s) == 0)
			put(path, "0");
	}
}

static void loopback_up(void)
{
	struct ifreq request = {.ifr_name = "lo"};
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	must(fd >= 0 && ioctl(fd, SIOCGIFFLAGS, &request) == 0, "lo");
	request.ifr_flags |= IFF_UP;
	must(ioctl(fd, SIOCSIFFLAGS, &request) == 0, "lo up");
	close(fd);
}

static void device(const char *name)
{
	char from[64], to[64];
	text(from, sizeof from, "/dev/%s", name);
	text(to, sizeof to, "dev/%s", name);
	close(open(to, O_CREAT | O_WRONLY | O_CLOEXEC, 0666));
	must(mount(from, to, NULL, MS_BIND, NULL) == 0, to);
}

static void inside(const char *root, int network)
{
	static const char *const devices[] = {"null", "zero", "full", "random", "urandom", "tty"};
	must(setresgid(0, 0, 0) == 0 && setresuid(0, 0, 0) == 0, "ids");
	must(mount(".", ".", NULL, MS_BIND | MS_REC, NULL) == 0 && chdir(root) == 0, "bind");
	must(mount("proc", "proc", "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL) == 0, "proc");
	must(mount("sysfs", "sys", "sysfs", MS_RDONLY | MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL) == 0, "sys");
	must(mount("tmpfs", "dev", "tmpfs", MS_NOSUID, "mode=755,size=65536k") == 0, "dev");
	for (size_t i = 0; i < sizeof devices / sizeof *devices; i++)
		device(devices[i]);
	must(mkdir("dev/pts", 0755) == 0 && mkdir("dev/shm", 01777) == 0 && mkdir("dev/mqueue", 0755) == 0, "dev");
	must(mount("devpts", "dev/pts", "devpts", MS_NOSUID | MS_NOEXEC, "newinstance,ptmxmode=0666,max=16") == 0, "pts");
	must(mount("shm", "dev/shm", "tmpfs", MS_NOSUID | MS_NODEV, "size=64m") == 0, "shm");
	must(mount("mqueue", "dev/mqueue", "mqueue", MS_NOSUID | MS_NODEV, NULL) == 0, "mqueue");
	must(sethostname("raw", 3) == 0, "sethostname");
	loopback_up();
	if (network)
		configure_inside();
	must(syscall(SYS_pivot_root, ".", ".") == 0 && umount2(".", MNT_DETACH) == 0, "pivot_root");
	must(chdir("/") == 0 && prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0, "root");
	char *argv[] = {"true", NULL}, *envp[] = {"PATH=/bin", NULL};
	execve("/bin/busybox", argv, envp);
	must(0, "execve");
}

/* What lies between the two: its own mounts, and the birth of the first process. */
static void monitor(const char *directory, int layers, const char *rules, int running)
{
	char options[4096], path[256];
	size_t length = 0;
	int maps[2];
	pid_t parent = getppid(), filter = rules ? filter_begins(rules) : 0;
	must(unshare(CLONE_NEWNS) == 0 && mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0, "unshare");
	for (int i = 0; i < layers; i++, length = strlen(options))
		text(options + length, sizeof options - length, "%s%s/lower%d", i ? ":" : "lowerdir=", directory, i);
	text(options + length, sizeof options - length, ",upperdir=%s/upper,workdir=%s/work", directory, directory);
	text(path, sizeof path, "%s/merged", directory);
	must(mount("overlay", path, "overlay", MS_NODEV, options) == 0, "overlay");
	must(chdir(path) == 0 && pipe2(maps, O_CLOEXEC) == 0, "pipe");
	unsigned long flags = CLONE_NEWUSER | CLONE_NEWNS | CLONE_NEWPID | CLONE_NEWNET | CLONE_NEWUTS | CLONE_NEWIPC |
			      CLONE_NEWCGROUP | SIGCHLD;
	join_groups(parent);
	pid_t pid = syscall(SYS_clone, flags, NULL, NULL, NULL, NULL);
	must(pid >= 0, "clone");
	if (pid == 0) {
		char byte;
		close(maps[1]);
		must(read(maps[0], &byte, 1) == 1, "maps");
		inside(path, rules != NULL);
	}
	close(running);
	text(path, sizeof path, "/proc/%d/uid_map", pid);
	put(path, "0 " ID_BASE " 65536\n");
	text(path, sizeof path, "/proc/%d/gid_map", pid);
	put(path, "0 " ID_BASE " 65536\n");
	if (rules) {
		reap(filter);
		attach(pid);
	}
	must(write(maps[1], "", 1) == 1, "maps");
	reap(pid);
	_exit(0);
}

static void make_directory(char *at, const char *base, const char *name)
{
	text(at, 256, "%s/%s", base, name);
	must(mkdir(at, 0755) == 0, at);
}

static void create(int n, int gap, const char *busybox, int layers, const char *rules)
{
	const char *temporary = getenv("TMPDIR");
	char base[200], path[256], command[600];
	static const char *const lower[] = {"lower0/bin", "lower0/proc", "lower0/sys", "lower0/dev", "merged"};
	text(base, sizeof base, "%s/raw-XXXXXX", temporary ? temporary : "/tmp");
	must(mkdtemp(base) != NULL && chmod(base, 0755) == 0, "mkdtemp");
	for (int i = 0; i < layers; i++) {
		text(command, sizeof command, "lower%d", i);
		make_directory(path, base, command);
	}
	for (size_t i = 0; i < sizeof lower / sizeof *lower; i++)
		make_directory(path, base, lower[i]);
	text(command, sizeof command, "cp %s %s/lower0/bin/busybox", busybox, base);
	must(system(command) == 0, "cp");
	for (int i = 0; i < n; i++) {
		int running[2];
		char byte;
		pause_ms(gap);
		double begun = now();
		make_directory(path, base, "upper");
		must(chown(path, ID_BASE_NUMBER, ID_BASE_NUMBER) == 0, path);
		make_directory(path, base, "work");
		groups(1);
		must(pipe2(running, O_CLOEXEC) == 0, "pipe");
		pid_t pid = fork();
		must(pid >= 0, "fork");
		if (pid == 0)
			monitor(base, layers, rules, running[1]);
		close(running[1]);
		must(read(running[0], &byte, 1) == 0, "exec");
		double runs = now();
		close(running[0]);
		reap(pid);
		if (rules) {
			detach();
			reap(filter_begins(rules));
		}
		groups(0);
		text(path, sizeof path, "%s/work/work", base);
		rmdir(path);
		text(path, sizeof path, "%s/work", base);
		must(rmdir(path) == 0, path);
		text(path, sizeof path, "%s/upper", base);
		must(rmdir(path) == 0, path);
		printf("%.1f %.1f\n", runs - begun, now() - begun);
	}
	text(command, sizeof command, "rm -r %s", base);
	must(system(command) == 0, "rm");
}

/* ---- a durable write ---- */

static void sync_page(int n, int gap, const char *directory)
{
	static char page[4096];
	int fd = open(directory, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
	must(fd >= 0, directory);
	for (int i = 0; i < n; i++) {
		pause_ms(gap);
		double begun = now();
		must(write(fd, page, sizeof page) == sizeof page && fsync(fd) == 0, "fsync");
		printf("%.1f\n", now() - begun);
	}
	close(fd);
}

/* ---- exec and prompt ---- */

#define JOINED (CLONE_NEWUSER | CLONE_NEWNS | CLONE_NEWPID | CLONE_NEWNET | CLONE_NEWUTS | CLONE_NEWIPC | CLONE_NEWCGROUP)

static void join(pid_t target)
{
	int fd = syscall(SYS_pidfd_open, target, 0);
	must(fd >= 0 && setns(fd, JOINED) == 0, "setns");
	must(setresgid(0, 0, 0) == 0 && setresuid(0, 0, 0) == 0, "ids");
}

static void exec_true(pid_t target)
{
	pid_t joiner = fork();
	must(joiner >= 0, "fork");
	if (joiner == 0) {
		join(target);
		pid_t pid = fork();
		must(pid >= 0, "fork");
		if (pid == 0) {
			char *argv[] = {"true", NULL}, *envp[] = {"PATH=/bin:/usr/bin", NULL};
			execve("/bin/true", argv, envp);
			must(0, "execve /bin/true");
		}
		reap(pid);
		_exit(0);
	}
	reap(joiner);
}

static void prompt(pid_t target)
{
	pid_t joiner = fork();
	must(joiner >= 0, "fork");
	if (joiner == 0) {
		int master;
		char bytes[4096];
		join(target);
		pid_t pid = forkpty(&master, NULL, NULL, NULL);
		must(pid >= 0, "forkpty");
		if (pid == 0) {
			char *argv[] = {"sh", NULL}, *envp[] = {"PATH=/bin:/usr/bin", "PS1=$ ", NULL};
			execve("/bin/sh", argv, envp);
			must(0, "execve /bin/sh");
		}
		must(read(master, bytes, sizeof bytes) > 0, "prompt");
		kill(pid, SIGKILL);
		waitpid(pid, NULL, 0);
		_exit(0);
	}
	reap(joiner);
}

static void repeat(int n, int gap, pid_t target, void (*work)(pid_t))
{
	for (int i = 0; i < n; i++) {
		pause_ms(gap);
		double begun = now();
		work(target);
		printf("%.1f\n", now() - begun);
	}
}

/* ---- a terminal's output and echo ---- */

static pid_t in_terminal(int *master, const char *busybox, const char *script)
{
	pid_t pid = forkpty(master, NULL, NULL, NULL);
	must(pid >= 0, "forkpty");
	if (pid == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		setenv("B", busybox, 1);
		execl(busybox, "sh", "-c", script, (char *)NULL);
		must(0, busybox);
	}
	return pid;
}

static void output(const char *mib, const char *busybox)
{
	static char bytes[65536];
	struct rusage usage;
	char script[128];
	int master;
	long long left = atoll(mib) << 20;
	text(script, sizeof script, "exec $B dd if=/dev/zero bs=64k count=%lld 2>/dev/null", left >> 16);
	double begun = now();
	pid_t pid = in_terminal(&master, busybox, script);
	while (left > 0) {
		ssize_t got = read(master, bytes, sizeof bytes);
		must(got > 0, "the terminal ended early");
		left -= got;
	}
	double took = (now() - begun) / 1e6;
	must(getrusage(RUSAGE_SELF, &usage) == 0, "getrusage");
	printf("%.6f %.6f\n", took, usage.ru_utime.tv_sec + usage.ru_stime.tv_sec +
					   (usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6);
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
}

static void flood(const char *busybox)
{
	static char bytes[4096];
	int master;
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	in_terminal(&master, busybox, "exec $B dd if=/dev/zero bs=64k 2>/dev/null");
	while (read(master, bytes, sizeof bytes) > 0)
		;
	_exit(0);
}

static void many(int n, int seconds, const char *busybox)
{
	static char bytes[4096];
	struct pollfd ready[64];
	pid_t pids[64];
	double total = 0;
	must(n <= 64, "too many");
	for (int i = 0; i < n; i++) {
		pids[i] = in_terminal(&ready[i].fd, busybox, "exec $B dd if=/dev/zero bs=64k 2>/dev/null");
		ready[i].events = POLLIN;
	}
	double begun = now(), until = begun + seconds * 1e6;
	while (now() < until) {
		must(poll(ready, n, 10000) > 0, "poll");
		for (int i = 0; i < n; i++)
			if (ready[i].revents & POLLIN)
				total += read(ready[i].fd, bytes, sizeof bytes);
	}
	printf("%.0f\n", total / ((now() - begun) / 1e6));
	for (int i = 0; i < n; i++) {
		kill(pids[i], SIGKILL);
		waitpid(pids[i], NULL, 0);
	}
}

static void echo(int n, int gap, const char *busybox, int beside_flood)
{
	int master;
	char byte;
	pid_t flooder = 0;
	pid_t pid = in_terminal(&master, busybox, "$B stty raw -echo; echo; exec $B cat");
	must(read(master, &byte, 1) == 1, "read");
	while (byte != '\n')
		must(read(master, &byte, 1) == 1, "read");
	if (beside_flood && (flooder = fork()) == 0)
		flood(busybox);
	pause_ms(300);
	for (int i = 0; i < n; i++) {
		struct pollfd ready = {master, POLLIN, 0};
		pause_ms(gap);
		double begun = now();
		must(write(master, "x", 1) == 1 && poll(&ready, 1, 10000) == 1 && read(master, &byte, 1) == 1, "echo");
		printf("%.1f\n", now() - begun);
	}
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
	if (flooder > 0) {
		kill(flooder, SIGKILL);
		waitpid(flooder, NULL, 0);
	}
}

/* ---- the processes of the host ---- */

static char buffer[16384];

static void look(int directory, const char *name, size_t size)
{
	int fd = openat(directory, name, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return;
	if (read(fd, buffer, size) < 0)
		buffer[0] = 0;
	close(fd);
}

/* PF_KTHREAD of linux/sched.h, from what look() has read of stat. */
static int is_kernels(void)
{
	unsigned flags;
	char *name = strrchr(buffer, ')');
	return name && sscanf(name, ") %*c %*d %*d %*d %*d %*d %u", &flags) == 1 && flags & 0x200000;
}

/* The links of all descriptors. */
static void descriptors(int directory)
{
	struct dirent *entry;
	int fd = openat(directory, "fd", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *table = fd < 0 ? NULL : fdopendir(fd);
	if (!table)
		return;
	while ((entry = readdir(table)))
		if (entry->d_name[0] != '.' && readlinkat(fd, entry->d_name, buffer, 64) < 0)
			break;
	closedir(table);
}

/* Whether this namespace is seen for the first time in a scan. */
static int is_new(const char *link, unsigned long *seen, size_t size)
{
	const char *digits = strchr(link, '[');
	unsigned long inode = digits ? strtoul(digits + 1, NULL, 10) : 0;
	size_t at = inode % size;
	while (seen[at] && seen[at] != inode)
		at = (at + 1) % size;
	if (!inode || seen[at] == inode)
		return 0;
	seen[at] = inode;
	return 1;
}

/* What a namespace hangs from, the maps of a user namespace, and the mounts of a mount namespace. */
static void namespace(int directory, const char *link)
{
	uid_t uid;
	struct stat s;
	int fd = openat(directory, link, O_RDONLY | O_CLOEXEC), owner, parent;
	if (fd < 0)
		return;
	must(fstat(fd, &s) == 0, "fstat");
	if ((owner = ioctl(fd, NS_GET_USERNS)) >= 0 && fstat(owner, &s) == 0)
		close(owner);
	if (!strcmp(link, "ns/pid") && (parent = ioctl(fd, NS_GET_PARENT)) >= 0 && fstat(parent, &s) == 0)
		close(parent);
	if (!strcmp(link, "ns/user")) {
		must(ioctl(fd, NS_GET_OWNER_UID, &uid) == 0, "NS_GET_OWNER_UID");
		look(directory, "uid_map", sizeof buffer);
		look(directory, "gid_map", sizeof buffer);
	}
	close(fd);
	if (strcmp(link, "ns/mnt") || (fd = openat(directory, "mountinfo", O_RDONLY | O_CLOEXEC)) < 0)
		return;
	while (read(fd, buffer, sizeof buffer) > 0)
		;
	close(fd);
}

static void scan(int all)
{
	static unsigned long seen[1 << 16];
	static const char *const links[] = {"ns/mnt", "ns/uts", "ns/ipc", "ns/pid", "ns/net", "ns/user", "ns/cgroup", "ns/time"};
	DIR *proc = opendir("/proc");
	struct dirent *entry;
	must(proc != NULL, "/proc");
	memset(seen, 0, sizeof seen);
	while ((entry = readdir(proc))) {
		struct stat s;
		size_t wanted = 8;
		if (entry->d_name[0] < '1' || entry->d_name[0] > '9')
			continue;
		int fd = openat(dirfd(proc), entry->d_name, O_PATH | O_DIRECTORY | O_CLOEXEC);
		if (all) {
			must(fstat(fd, &s) == 0 || errno, "fstat");
			look(fd, "stat", sizeof buffer);
			if (is_kernels())
				wanted = 1;
		}
		for (size_t i = 0; i < wanted; i++) {
			ssize_t length = readlinkat(fd, links[i], buffer, 64);
			if (length < 0)
				break;
			buffer[length] = 0;
			if (all && is_new(buffer, seen, sizeof seen / sizeof *seen))
				namespace(fd, links[i]);
		}
		if (all && wanted > 1) {
			look(fd, "status", sizeof buffer);
			look(fd, "cgroup", sizeof buffer);
			look(fd, "cmdline", 4096);
			descriptors(fd);
		}
		close(fd);
	}
	closedir(proc);
}

/* Every so many milliseconds a process that executes a program is born, and one ends. */
static void churn(int gap, const char *busybox)
{
	enum { LIVING = 20 };
	pid_t living[LIVING] = {0};
	puts("ready");
	fflush(stdout);
	for (int i = 0;; i = (i + 1) % LIVING) {
		struct pollfd ended = {0, POLLIN, 0};
		if (poll(&ended, 1, gap) != 0)
			break;
		if (living[i] > 0) {
			kill(living[i], SIGKILL);
			waitpid(living[i], NULL, 0);
		}
		living[i] = fork();
		must(living[i] >= 0, "fork");
		if (living[i] == 0) {
			prctl(PR_SET_PDEATHSIG, SIGKILL);
			execl(busybox, "sleep", "1000", (char *)NULL);
			_exit(127);
		}
	}
	for (int i = 0; i < LIVING; i++)
		if (living[i] > 0) {
			kill(living[i], SIGKILL);
			waitpid(living[i], NULL, 0);
		}
}

static void crowd(int n)
{
	char byte;
	for (int i = 0; i < n; i++) {
		pid_t pid = fork();
		must(pid >= 0, "fork");
		if (pid == 0) {
			prctl(PR_SET_PDEATHSIG, SIGKILL);
			for (;;)
				pause();
		}
	}
	puts("ready");
	fflush(stdout);
	while (read(0, &byte, 1) > 0)
		;
	signal(SIGTERM, SIG_IGN);
}

int main(int argc, char **argv)
{
	const char *what = argc > 1 ? argv[1] : "";
	int n = argc > 2 ? atoi(argv[2]) : 0, gap = argc > 3 ? atoi(argv[3]) : 0;
	setvbuf(stdout, NULL, _IOLBF, 0);
	if (!strcmp(what, "create") && argc >= 5 && argc <= 7)
		create(n, gap, argv[4], argc > 5 ? atoi(argv[5]) : 1, argc > 6 ? argv[6] : NULL);
	else if (!strcmp(what, "exec") && argc == 5)
		repeat(n, gap, atoi(argv[4]), exec_true);
	else if (!strcmp(what, "prompt") && argc == 5)
		repeat(n, gap, atoi(argv[4]), prompt);
	else if (!strcmp(what, "output") && argc == 4)
		output(argv[2], argv[3]);
	else if (!strcmp(what, "echo") && argc >= 5)
		echo(n, gap, argv[4], argc == 6);
	else if (!strcmp(what, "sync") && argc == 5)
		sync_page(n, gap, argv[4]);
	else if (!strcmp(what, "many") && argc == 5)
		many(n, gap, argv[4]);
	else if (!strcmp(what, "scan") && argc == 4)
		for (int i = 0; i < n; i++) {
			double begun = now();
			scan(!strcmp(argv[3], "all"));
			printf("%.1f\n", now() - begun);
		}
	else if (!strcmp(what, "crowd") && argc == 3)
		crowd(n);
	else if (!strcmp(what, "churn") && argc == 4)
		churn(n, argv[3]);
	else {
		fprintf(stderr, "raw: see the head of raw.c\n");
		return 2;
	}
	return 0;
}
