package app

import (
	"context"
	"errors"
	"net"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
	"google.golang.org/grpc"
)

// etcdSilence is how long what was sent to etcd may be without a sign from its host that it
// has come, before the connection is given up, and another endpoint is asked. A process
// that stands still has nothing to do with it: the kernel answers for it. Members call one
// another lost after a second as well.
const etcdSilence = time.Second

// noticingSilence are options for a client of etcd by which it soon leaves a host that is
// gone without a word. It is for endpoints that are addresses, not sockets.
func noticingSilence(endpoints []string) []grpc.DialOption {
	for _, e := range endpoints {
		if strings.HasPrefix(e, "unix") {
			return nil
		}
	}
	d := net.Dialer{Control: func(_, _ string, c syscall.RawConn) error {
		var err error
		outer := c.Control(func(fd uintptr) {
			err = unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT, int(etcdSilence/time.Millisecond))
		})
		return errors.Join(outer, err)
	}}
	return []grpc.DialOption{grpc.WithContextDialer(func(ctx context.Context, addr string) (net.Conn, error) {
		conn, err := d.DialContext(ctx, "tcp", addr)
		if err != nil {
			return nil, err
		}
		return etcdConn{conn}, nil
	})}
}

// etcdConn hides what a connection is: gRPC would set the time to its own.
type etcdConn struct{ net.Conn }
