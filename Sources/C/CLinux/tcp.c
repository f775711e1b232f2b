// TCP_INFO as the kernel has it: <linux/tcp.h> knows more fields than glibc's <netinet/tcp.h>, and both cannot be in one file.
#define _GNU_SOURCE
#include "clinux.h"
#include <errno.h>
#include <linux/sock_diag.h>
#include <linux/sockios.h>
#include <linux/tcp.h>
#include <netinet/in.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

int cl_tcp_info(int fd, cl_tcp_state *out) {
    struct tcp_info i = {0};
    socklen_t n = sizeof i;
    memset(out, 0, sizeof *out);
    if (getsockopt(fd, IPPROTO_TCP, TCP_INFO, &i, &n)) return -errno;
    *out = (cl_tcp_state){
        .state = i.tcpi_state, .retransmits = i.tcpi_retransmits, .rtt = i.tcpi_rtt, .rtt_variance = i.tcpi_rttvar, .rtt_min = i.tcpi_min_rtt,
        .segment = i.tcpi_snd_mss, .window = i.tcpi_snd_cwnd, .slow_start = i.tcpi_snd_ssthresh, .unacked = i.tcpi_unacked, .sacked = i.tcpi_sacked,
        .lost = i.tcpi_lost, .retransmitted = i.tcpi_total_retrans, .unsent = i.tcpi_notsent_bytes, .receive_space = i.tcpi_rcv_space,
        .acknowledged = i.tcpi_bytes_acked, .received = i.tcpi_bytes_received, .delivery_rate = i.tcpi_delivery_rate};
    return 0;
}
int cl_unacknowledged(int fd) {
    int left = 0;
    if (ioctl(fd, SIOCOUTQ, &left)) return -errno;
    if (left > 0) return left;
    // SIOCOUTQ does not count the FIN: it is confirmed once the state is FIN_WAIT2 (5), TIME_WAIT (6) or CLOSE (7).
    cl_tcp_state s;
    if (cl_tcp_info(fd, &s)) return 0;  // not TCP: a Unix socket's bytes lie with the peer
    return s.state >= 5 && s.state <= 7 ? 0 : 1;
}
int64_t cl_dropped(int fd) {
    uint32_t values[SK_MEMINFO_VARS] = {0};
    socklen_t n = sizeof values;
    return getsockopt(fd, SOL_SOCKET, SO_MEMINFO, values, &n) ? -errno : (int64_t)values[SK_MEMINFO_DROPS];
}
