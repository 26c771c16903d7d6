package app

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/http"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"syscall"
	"time"

	"go.uber.org/zap"
	"golang.org/x/sys/unix"

	"github.com/carillon-cron/carillon/internal/control/caller"
	"github.com/carillon-cron/carillon/internal/peercred"
	"github.com/carillon-cron/carillon/internal/rights"
)

// The local socket serves the API to programs on this host. Who connects is told
// by the kernel, so no password is needed: root, the node's own account, and the
// members of the socket's group may ask; the file's mode keeps others out, and
// what the kernel says of the peer is checked again. Requests that come this way
// carry the peer's account as theirs. Root and the node's own account may do
// everything.

const (
	// socketName is the socket's name in the data directory.
	socketName = "carillon.sock"
	// noSocket says that there is none.
	noSocket = "none"
	// maxSocketPath is how long the path of a socket may be on Linux.
	maxSocketPath = 107
	// socketMode lets the owner and the group connect.
	socketMode = 0o660
)

// listenSocket opens the local socket, nil if there is none.
func (n *Node) listenSocket() error {
	path := n.cfg.Socket
	switch path {
	case noSocket:
		return nil
	case "":
		path = filepath.Join(n.cfg.DataDir, socketName)
		if len(path) > maxSocketPath {
			n.log.Warn("no local socket: its path would be too long; give another with --socket", zap.String("path", path))
			return nil
		}
	}
	if err := removeSocket(path); err != nil {
		return err
	}
	l, err := net.Listen("unix", path)
	if err != nil {
		return fmt.Errorf("local socket %s: %w; give another with --socket, or none", path, err)
	}
	n.onClose(func() { _ = l.Close() })
	if err := os.Chmod(path, socketMode); err != nil {
		return fmt.Errorf("local socket: %w", err)
	}
	st, err := os.Stat(path)
	if err != nil {
		return fmt.Errorf("local socket: %w", err)
	}
	group := os.Getegid()
	if sys, ok := st.Sys().(*syscall.Stat_t); ok {
		group = int(sys.Gid)
	}
	n.socket = &peerListener{Listener: l, group: group, log: n.log.Named("socket")}
	return nil
}

// socketProbe bounds the look whether somebody serves a socket.
const socketProbe = time.Second

// removeSocket removes the socket that a killed node has left. It touches nothing
// else: neither a file that is no socket, nor a socket that somebody serves.
func removeSocket(path string) error {
	st, err := os.Lstat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return fmt.Errorf("local socket: %w", err)
	case st.Mode().Type() != fs.ModeSocket:
		return fmt.Errorf("local socket %s: there is a file already that is no socket; give another path with --socket, or none", path)
	}
	if conn, err := net.DialTimeout("unix", path, socketProbe); err == nil {
		_ = conn.Close()
		return fmt.Errorf("local socket %s: another process serves it; give each node its own with --socket, or none", path)
	}
	if err := os.Remove(path); err != nil {
		return fmt.Errorf("local socket: %w", err)
	}
	return nil
}

// peerListener accepts connections of those only who may ask.
type peerListener struct {
	net.Listener

	group int
	log   *zap.Logger
}

// peerConn is a connection whose other end the kernel has named.
type peerConn struct {
	net.Conn

	peer caller.Caller
}

// Accept implements net.Listener. It closes connections of others.
func (l *peerListener) Accept() (net.Conn, error) {
	for {
		conn, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		cred, err := peercred.Of(conn)
		if err == nil && !l.admits(cred) {
			err = fmt.Errorf("account %d may not", cred.Uid)
		}
		if err != nil {
			l.log.Warn("connection refused", zap.Error(err))
			_ = conn.Close()
			continue
		}
		return &peerConn{Conn: conn, peer: callerOf(cred.Uid)}, nil
	}
}

// admits reports whether the peer is root, our own account or of the group.
func (l *peerListener) admits(c *unix.Ucred) bool {
	if c.Uid == 0 || int(c.Uid) == os.Geteuid() || int(c.Gid) == l.group {
		return true
	}
	u, err := user.LookupId(strconv.Itoa(int(c.Uid)))
	if err != nil {
		return false
	}
	groups, err := u.GroupIds()
	for _, g := range groups {
		if g == strconv.Itoa(l.group) {
			return err == nil
		}
	}
	return false
}

// callerOf is an account of this host as the API knows it.
func callerOf(uid uint32) caller.Caller {
	name := accountName(uid)
	return caller.Caller{
		Name: name + " (socket)", Subjects: []rights.Subject{{Kind: rights.Account, Name: name}}, Remote: "socket",
		Local: uid == 0 || int(uid) == os.Geteuid(),
	}
}

func accountName(uid uint32) string {
	id := strconv.FormatUint(uint64(uid), 10)
	if u, err := user.LookupId(id); err == nil {
		return u.Username
	}
	return id
}

// peerKey is the context's key of who is at the other end.
type peerKey struct{}

// withPeer puts who is at the other end into the context of its requests.
func withPeer(ctx context.Context, c net.Conn) context.Context {
	if p, ok := c.(*peerConn); ok {
		return context.WithValue(ctx, peerKey{}, p.peer)
	}
	return ctx
}

// peer returns who asks over the local socket; false for requests that come another
// way.
func peer(r *http.Request) (caller.Caller, bool) {
	c, ok := r.Context().Value(peerKey{}).(caller.Caller)
	return c, ok
}
