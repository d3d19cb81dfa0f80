/* The floor's part of a bridge: a pair of interfaces, and the packet filter by nft(8).
 *
 * The same messages to the kernel as a container of Porthole's takes, one at a time, each
 * answered: two addresses, the entries and routes that lead to them, and the whole filter anew.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <fcntl.h>
#include <linux/if_bridge.h>
#include <linux/if_link.h>
#include <linux/neighbour.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <linux/veth.h>
#include <net/if.h>
#include <spawn.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "raw.h"

#define BRIDGE "raw0"
#define PORT "raw1"
#define INSIDE "eth0"

/* Both ends of the way between a container and the bridge. */
static const char *const outside[] = {"10.9.9.1", "fd70:9::1"};
static const char *const inside[] = {"10.9.9.2", "fd70:9::2"};
static const unsigned char outside_mac[] = {2, 0, 0, 9, 0, 1};
static const unsigned char inside_mac[] = {2, 0, 0, 9, 0, 2};

struct message {
	struct nlmsghdr head;
	char rest[1000];
};

static void *grow(struct message *m, size_t size)
{
	void *at = (char *)m + NLMSG_ALIGN(m->head.nlmsg_len);
	must(NLMSG_ALIGN(m->head.nlmsg_len) + RTA_ALIGN(size) <= sizeof *m, "a message is too long");
	m->head.nlmsg_len = NLMSG_ALIGN(m->head.nlmsg_len) + size;
	return at;
}

static void *begin(struct message *m, int type, int flags, size_t size)
{
	memset(m, 0, sizeof *m);
	m->head = (struct nlmsghdr){.nlmsg_len = NLMSG_HDRLEN, .nlmsg_type = type,
				    .nlmsg_flags = NLM_F_REQUEST | NLM_F_ACK | flags};
	return grow(m, size);
}

static struct rtattr *attribute(struct message *m, int type, const void *data, size_t size)
{
	struct rtattr *a = grow(m, RTA_LENGTH(size));
	a->rta_type = type;
	a->rta_len = RTA_LENGTH(size);
	if (size)
		memcpy(RTA_DATA(a), data, size);
	return a;
}

static void end(struct message *m, struct rtattr *a)
{
	a->rta_len = (char *)m + m->head.nlmsg_len - (char *)a;
}

static void number(struct message *m, int type, unsigned n)
{
	attribute(m, type, &n, sizeof n);
}

static void name(struct message *m, int type, const char *text)
{
	attribute(m, type, text, strlen(text) + 1);
}

static void order(int fd, struct message *m, const char *what)
{
	char answer[4096];
	struct nlmsghdr *head = (struct nlmsghdr *)answer;
	must(send(fd, m, m->head.nlmsg_len, 0) == (ssize_t)m->head.nlmsg_len, what);
	must(recv(fd, answer, sizeof answer, 0) >= (ssize_t)NLMSG_LENGTH(sizeof(int)), what);
	must(head->nlmsg_type == NLMSG_ERROR, what);
	errno = -((struct nlmsgerr *)NLMSG_DATA(head))->error;
	must(errno == 0, what);
}

static int conversation(void)
{
	int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE);
	must(fd >= 0, "netlink");
	return fd;
}

static void make_pair(int fd, pid_t pid)
{
	struct message m;
	begin(&m, RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL, sizeof(struct ifinfomsg));
	name(&m, IFLA_IFNAME, PORT);
	struct rtattr *info = attribute(&m, IFLA_LINKINFO, NULL, 0);
	name(&m, IFLA_INFO_KIND, "veth");
	struct rtattr *data = attribute(&m, IFLA_INFO_DATA, NULL, 0);
	struct rtattr *peer = attribute(&m, VETH_INFO_PEER, NULL, 0);
	grow(&m, sizeof(struct ifinfomsg));
	name(&m, IFLA_IFNAME, INSIDE);
	attribute(&m, IFLA_ADDRESS, inside_mac, sizeof inside_mac);
	number(&m, IFLA_NET_NS_PID, pid);
	end(&m, peer);
	end(&m, data);
	end(&m, info);
	order(fd, &m, "a pair of interfaces");
}

static struct ifinfomsg *set_link(struct message *m, int index)
{
	struct ifinfomsg *link = begin(m, RTM_SETLINK, 0, sizeof *link);
	link->ifi_index = index;
	return link;
}

static void plug_in(int fd, int index, int bridge)
{
	static const int flags[][2] = {{IFLA_BRPORT_ISOLATED, 1}, {IFLA_BRPORT_LEARNING, 0}, {IFLA_BRPORT_LOCKED, 1},
		{IFLA_BRPORT_UNICAST_FLOOD, 0}, {IFLA_BRPORT_MCAST_FLOOD, 0}, {IFLA_BRPORT_BCAST_FLOOD, 0}};
	struct message m;
	set_link(&m, index);
	number(&m, IFLA_MASTER, bridge);
	order(fd, &m, "a port of the bridge");
	struct ifinfomsg *link = begin(&m, RTM_NEWLINK, 0, sizeof *link);
	link->ifi_index = index;
	struct rtattr *info = attribute(&m, IFLA_LINKINFO, NULL, 0);
	name(&m, IFLA_INFO_SLAVE_KIND, "bridge");
	struct rtattr *data = attribute(&m, IFLA_INFO_SLAVE_DATA, NULL, 0);
	for (size_t i = 0; i < sizeof flags / sizeof *flags; i++) {
		unsigned char on = flags[i][1];
		attribute(&m, flags[i][0], &on, 1);
	}
	end(&m, data);
	end(&m, info);
	order(fd, &m, "the port's flags");
}

static void no_link_local(int fd, int index)
{
	unsigned char none = IN6_ADDR_GEN_MODE_NONE;
	struct message m;
	set_link(&m, index);
	struct rtattr *families = attribute(&m, IFLA_AF_SPEC, NULL, 0);
	struct rtattr *v6 = attribute(&m, AF_INET6, NULL, 0);
	attribute(&m, IFLA_INET6_ADDR_GEN_MODE, &none, 1);
	end(&m, v6);
	end(&m, families);
	order(fd, &m, "no address of its own");
}

static void set_up(int fd, int index)
{
	struct message m;
	struct ifinfomsg *link = set_link(&m, index);
	link->ifi_flags = link->ifi_change = IFF_UP;
	order(fd, &m, "up");
}

/* An address as it goes into a message; `v6` says of which kind. */
static size_t address(const char *text, int v6, unsigned char *bytes)
{
	must(inet_pton(v6 ? AF_INET6 : AF_INET, text, bytes) == 1, text);
	return v6 ? 16 : 4;
}

static void neighbour(int fd, int make, int index, const char *to, int v6, const unsigned char *mac)
{
	unsigned char bytes[16];
	struct message m;
	struct ndmsg *n = begin(&m, make ? RTM_NEWNEIGH : RTM_DELNEIGH, make ? NLM_F_CREATE | NLM_F_REPLACE : 0, sizeof *n);
	n->ndm_family = v6 ? AF_INET6 : AF_INET;
	n->ndm_ifindex = index;
	n->ndm_state = NUD_PERMANENT;
	attribute(&m, NDA_DST, bytes, address(to, v6, bytes));
	if (make)
		attribute(&m, NDA_LLADDR, mac, 6);
	order(fd, &m, "a neighbour");
}

static void behind_port(int fd, int index)
{
	struct message m;
	struct ndmsg *n = begin(&m, RTM_NEWNEIGH, NLM_F_CREATE | NLM_F_REPLACE, sizeof *n);
	n->ndm_family = AF_BRIDGE;
	n->ndm_ifindex = index;
	n->ndm_state = NUD_NOARP;
	n->ndm_flags = NTF_MASTER;
	attribute(&m, NDA_LLADDR, inside_mac, sizeof inside_mac);
	order(fd, &m, "what is behind the port");
}

/* To one address, or to all by way of one. */
static void route(int fd, int make, int index, const char *to, int all, int v6)
{
	unsigned char bytes[16];
	struct message m;
	size_t size = address(to, v6, bytes);
	struct rtmsg *r = begin(&m, make ? RTM_NEWROUTE : RTM_DELROUTE, make ? NLM_F_CREATE | NLM_F_REPLACE : 0, sizeof *r);
	r->rtm_family = v6 ? AF_INET6 : AF_INET;
	r->rtm_table = RT_TABLE_MAIN;
	r->rtm_protocol = RTPROT_STATIC;
	r->rtm_type = RTN_UNICAST;
	r->rtm_scope = all ? RT_SCOPE_UNIVERSE : RT_SCOPE_LINK;
	r->rtm_dst_len = all ? 0 : 8 * size;
	number(&m, RTA_OIF, index);
	attribute(&m, all ? RTA_GATEWAY : RTA_DST, bytes, size);
	order(fd, &m, "a route");
}

static void give_address(int fd, int index, const char *text, int v6)
{
	unsigned char bytes[16];
	struct message m;
	size_t size = address(text, v6, bytes);
	struct ifaddrmsg *a = begin(&m, RTM_NEWADDR, NLM_F_CREATE | NLM_F_REPLACE, sizeof *a);
	a->ifa_family = v6 ? AF_INET6 : AF_INET;
	a->ifa_prefixlen = 8 * size;
	a->ifa_flags = IFA_F_NODAD;
	a->ifa_index = index;
	attribute(&m, IFA_LOCAL, bytes, size);
	attribute(&m, IFA_ADDRESS, bytes, size);
	order(fd, &m, "an address");
}

pid_t filter_begins(const char *rules)
{
	char *argv[] = {"nft", "-f", (char *)rules, NULL}, *envp[] = {NULL};
	pid_t pid;
	errno = posix_spawn(&pid, "/usr/sbin/nft", NULL, NULL, argv, envp);
	must(errno == 0, "/usr/sbin/nft");
	return pid;
}

void attach(pid_t pid)
{
	int fd = conversation(), bridge = if_nametoindex(BRIDGE);
	must(bridge > 0, BRIDGE);
	make_pair(fd, pid);
	int index = if_nametoindex(PORT);
	plug_in(fd, index, bridge);
	behind_port(fd, index);
	for (int v6 = 0; v6 < 2; v6++) {
		neighbour(fd, 1, bridge, inside[v6], v6, inside_mac);
		route(fd, 1, bridge, inside[v6], 0, v6);
	}
	no_link_local(fd, index);
	set_up(fd, index);
	close(fd);
}

void configure_inside(void)
{
	int fd = conversation(), index = if_nametoindex(INSIDE);
	must(index > 0, INSIDE);
	no_link_local(fd, index);
	set_up(fd, index);
	for (int v6 = 0; v6 < 2; v6++)
		give_address(fd, index, inside[v6], v6);
	for (int v6 = 0; v6 < 2; v6++) {
		neighbour(fd, 1, index, outside[v6], v6, outside_mac);
		route(fd, 1, index, outside[v6], 0, v6);
		route(fd, 1, index, outside[v6], 1, v6);
	}
	close(fd);
}

void detach(void)
{
	int fd = conversation(), bridge = if_nametoindex(BRIDGE);
	struct message m;
	begin(&m, RTM_DELLINK, 0, sizeof(struct ifinfomsg));
	name(&m, IFLA_IFNAME, PORT);
	/* It may have gone with the container's network namespace. */
	must(send(fd, &m, m.head.nlmsg_len, 0) > 0 && recv(fd, &m, sizeof m, 0) > 0, "netlink");
	for (int v6 = 0; v6 < 2; v6++) {
		route(fd, 0, bridge, inside[v6], 0, v6);
		neighbour(fd, 0, bridge, inside[v6], v6, NULL);
	}
	close(fd);
}
