package main

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"syscall"
)

// Ports are taken in blocks. A cluster that runs holds the lock of its block's
// file, so that two of them on a machine share no port, though nodes leave theirs
// free for a while. They lie below those that the kernel gives to outgoing
// connections.
const (
	firstPort, lastPort = 10_000, 30_000
	blockPorts          = 40
)

// freePorts returns ports of a block that is locked until free is called, and that
// nobody listens on.
func freePorts(n int) (ports []int, free func(), err error) {
	dir := filepath.Join(os.TempDir(), "carillon-fault-ports")
	if err := os.MkdirAll(dir, 0o777); err != nil { // all accounts share it
		return nil, nil, fmt.Errorf("locks of ports: %w", err)
	}
	for range 1000 {
		first := firstPort + blockPorts*rand.IntN((lastPort-firstPort)/blockPorts)
		f, err := os.OpenFile(filepath.Join(dir, strconv.Itoa(first)), os.O_CREATE|os.O_RDWR, 0o666) // all accounts share it
		if err != nil {
			return nil, nil, fmt.Errorf("lock of ports: %w", err)
		}
		if syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB) == nil {
			if ports = unused(first, n); ports != nil {
				return ports, func() { _ = f.Close() }, nil
			}
		}
		_ = f.Close()
	}
	return nil, nil, errors.New("too few free ports between 10000 and 30000")
}

// unused returns n ports of a block that nobody listens on, nil when there are
// too few.
func unused(first, n int) []int {
	var ports []int
	for port := first; port < first+blockPorts && len(ports) < n; port++ {
		l, err := net.Listen("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
		if err != nil {
			continue
		}
		_ = l.Close()
		ports = append(ports, port)
	}
	if len(ports) < n {
		return nil
	}
	return ports
}
