// Package ports hands out ports of 127.0.0.1 to programs that tests start, and
// that cannot be asked which one they got.
//
// A port that was free a moment ago may be taken by an outgoing connection of
// anybody, or by another test that looked at the same moment. So they lie below
// those that the kernel gives away by itself, and each is reserved among all that
// use this package, in other processes too, until it is released or its process
// ends. Only a foreign program that listens there may still come in between.
package ports

import (
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"

	"golang.org/x/sys/unix"
)

const (
	first = 10_000
	count = 20_000
)

// Reservation is a number of ports.
type Reservation struct {
	Ports []int

	file *os.File
}

// Reserve returns n ports on which nobody listens.
func Reserve(n int) (*Reservation, error) {
	// A byte of the file is a port; its lock is the reservation.
	name := filepath.Join(os.TempDir(), fmt.Sprintf("carillon-test-ports-%d", os.Getuid()))
	f, err := os.OpenFile(name, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("reserve %d ports: %w", n, err)
	}
	r := &Reservation{file: f}
	for range 1000 {
		if len(r.Ports) == n {
			return r, nil
		}
		port := first + rand.IntN(count)
		// The lock is the open file's, so that two in one process exclude one another as well.
		lock := unix.Flock_t{Type: unix.F_WRLCK, Start: int64(port), Len: 1}
		if slices.Contains(r.Ports, port) || unix.FcntlFlock(f.Fd(), unix.F_OFD_SETLK, &lock) != nil {
			continue
		}
		// One that is refused here stays reserved, which does no harm.
		l, err := net.Listen("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
		if err != nil {
			continue
		}
		_ = l.Close()
		r.Ports = append(r.Ports, port)
	}
	r.Release()
	return nil, fmt.Errorf("reserve %d ports: too few are free between %d and %d", n, first, first+count)
}

// Release lets others have the ports.
func (r *Reservation) Release() { _ = r.file.Close() }
