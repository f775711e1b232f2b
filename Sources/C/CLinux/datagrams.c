#define _GNU_SOURCE
#include "clinux.h"
#include <errno.h>
#include <net/if.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/uio.h>

#define ANSWER(call) do { int r_ = (call); return r_ < 0 ? -errno : r_; } while (0)

// A single datagram goes by the plain calls, which cost the kernel less.
int cl_receive_datagrams(int fd, void *bytes, size_t stride, size_t capacity, cl_datagram *datagrams, int count) {
    if (count == 1) {
        datagrams->name_length = sizeof datagrams->name;
        ssize_t r = recvfrom(fd, bytes, capacity, MSG_DONTWAIT | MSG_TRUNC, (void *)datagrams->name, &datagrams->name_length);
        if (r < 0) return -errno;
        datagrams->count = (uint32_t)r;
        return 1;
    }
    struct mmsghdr m[CL_DATAGRAMS_MAX];
    struct iovec v[CL_DATAGRAMS_MAX];
    for (int i = 0; i < count; i++) {
        v[i] = (struct iovec){(char *)bytes + (size_t)i * stride, capacity};
        m[i].msg_hdr = (struct msghdr){.msg_name = datagrams[i].name, .msg_namelen = sizeof datagrams[i].name, .msg_iov = &v[i], .msg_iovlen = 1};
    }
    // As a flag of the call, MSG_TRUNC has the length be the datagram's own.
    int got = recvmmsg(fd, m, (unsigned)count, MSG_DONTWAIT | MSG_TRUNC, 0);
    if (got < 0) return -errno;
    for (int i = 0; i < got; i++) {
        datagrams[i].count = m[i].msg_len;
        datagrams[i].name_length = m[i].msg_hdr.msg_namelen;
    }
    return got;
}
int cl_send_datagrams(int fd, const cl_outgoing_datagram *datagrams, int count) {
    if (count == 1) {
        const cl_outgoing_datagram *d = datagrams;
        return sendto(fd, d->bytes, d->count, MSG_DONTWAIT | MSG_NOSIGNAL, d->name_length ? d->name : 0, d->name_length) < 0 ? -errno : 1;
    }
    struct mmsghdr m[CL_DATAGRAMS_MAX];
    struct iovec v[CL_DATAGRAMS_MAX];
    for (int i = 0; i < count; i++) {
        v[i] = (struct iovec){(void *)datagrams[i].bytes, datagrams[i].count};
        m[i].msg_hdr = (struct msghdr){
            .msg_name = datagrams[i].name_length ? (void *)datagrams[i].name : 0, .msg_namelen = datagrams[i].name_length, .msg_iov = &v[i], .msg_iovlen = 1};
    }
    ANSWER(sendmmsg(fd, m, (unsigned)count, MSG_DONTWAIT | MSG_NOSIGNAL));
}
long cl_receive_datagram(int fd, void *bytes, size_t capacity, cl_datagram *datagram) {
    datagram->name_length = sizeof datagram->name;
    long r = recvfrom(fd, bytes, capacity, MSG_TRUNC, (void *)datagram->name, &datagram->name_length);
    if (r < 0) return -errno;
    datagram->count = (uint32_t)r;
    return r;
}
long cl_send_datagram(int fd, const void *bytes, size_t count, const void *name, uint32_t name_length) {
    long r = sendto(fd, bytes, count, MSG_NOSIGNAL, name_length ? name : 0, name_length);
    return r < 0 ? -errno : r;
}
unsigned cl_interface_index(const char *name) { return if_nametoindex(name); }
int cl_set_membership(int fd, int joins, unsigned interface, const cl_address *group, const cl_address *source) {
    int level = group->family == 6 ? IPPROTO_IPV6 : IPPROTO_IP;
    if (source) {
        struct group_source_req r = {.gsr_interface = interface};
        cl_encode_address(group, &r.gsr_group);
        cl_encode_address(source, &r.gsr_source);
        ANSWER(setsockopt(fd, level, joins ? MCAST_JOIN_SOURCE_GROUP : MCAST_LEAVE_SOURCE_GROUP, &r, sizeof r));
    }
    struct group_req r = {.gr_interface = interface};
    cl_encode_address(group, &r.gr_group);
    ANSWER(setsockopt(fd, level, joins ? MCAST_JOIN_GROUP : MCAST_LEAVE_GROUP, &r, sizeof r));
}
int cl_set_multicast_interface(int fd, int family, unsigned interface) {
    if (family == 6) ANSWER(setsockopt(fd, IPPROTO_IPV6, IPV6_MULTICAST_IF, &interface, sizeof interface));
    struct ip_mreqn r = {.imr_ifindex = (int)interface};
    ANSWER(setsockopt(fd, IPPROTO_IP, IP_MULTICAST_IF, &r, sizeof r));
}
