// Package peercred asks the kernel who is at the other end of a Unix socket.
package peercred

import (
	"errors"
	"net"
	"syscall"

	"golang.org/x/sys/unix"
)

// Of returns the process and the account that connected, as they were when they did.
func Of(conn net.Conn) (*unix.Ucred, error) {
	c, ok := conn.(syscall.Conn)
	if !ok {
		return nil, errors.New("not a socket")
	}
	raw, err := c.SyscallConn()
	if err != nil {
		return nil, err
	}
	var cred *unix.Ucred
	var asked error
	if err := raw.Control(func(fd uintptr) {
		cred, asked = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED)
	}); err != nil {
		return nil, err
	}
	return cred, asked
}
