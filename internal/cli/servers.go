package cli

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"path/filepath"
	"strings"
	"time"
)

// tryServer bounds the wait for a connection to one of several servers.
const tryServer = 3 * time.Second

// chosenServer returns the first of several servers that takes a connection. One alone is
// not tried: the first request tells what is wrong with it.
func (ca *call) chosenServer(ctx context.Context) (string, error) {
	if !strings.Contains(ca.server, ",") {
		return ca.server, nil
	}
	var names []string
	for name := range strings.SplitSeq(ca.server, ",") {
		if name = strings.TrimSpace(name); name != "" {
			names = append(names, name)
		}
	}
	var failed []error
	for _, name := range names {
		network, address, err := dialed(name)
		if err != nil {
			return "", err
		}
		within, cancel := context.WithTimeout(ctx, tryServer)
		conn, err := (&net.Dialer{}).DialContext(within, network, address)
		cancel()
		if err == nil {
			return name, conn.Close()
		}
		if ctx.Err() != nil {
			return "", ctx.Err()
		}
		failed = append(failed, fmt.Errorf("no answer from %s (%w)", name, err))
	}
	if len(failed) == 0 {
		return "", usagef("--server %q names no server", ca.server)
	}
	return "", &exitError{exitUnavailable, errors.Join(failed...)}
}

// socketDirs are the directories in which a node on this host has its local socket unless
// it is told otherwise: of root's node or a service's, of this account's, and of its `carillon dev`.
func (a *app) socketDirs() []string {
	dirs := []string{"/var/lib/carillon/scheduler"}
	if home := a.env["HOME"]; home != "" {
		dirs = append(dirs, filepath.Join(home, ".local", "share", "carillon", "scheduler"), filepath.Join(home, ".carillon", "dev", "node"))
	}
	return dirs
}

// nearestServer is asked where no server is named: a node of this host by its local socket,
// if this account may use one, else the usual port. The socket cannot be anybody else's, and
// needs no token.
func nearestServer(ctx context.Context, dirs []string) string {
	for _, dir := range dirs {
		path := filepath.Join(dir, "carillon.sock")
		if conn, err := (&net.Dialer{Timeout: tryServer}).DialContext(ctx, "unix", path); err == nil {
			_ = conn.Close() // the request makes its own
			return "unix://" + path
		}
	}
	return defaultServer
}

// dialed returns what a connection to a server is made to.
func dialed(server string) (network, address string, err error) {
	if path, local := strings.CutPrefix(server, "unix://"); local {
		return "unix", path, nil
	}
	text := server
	if !strings.Contains(text, "://") {
		text = "https://" + text
	}
	u, err := url.Parse(text)
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
		return "", "", usagef("--server %q: want URLs such as %s, with a comma between them", server, defaultServer)
	}
	port := u.Port()
	if port == "" {
		port = map[string]string{"http": "80", "https": "443"}[u.Scheme]
	}
	return "tcp", net.JoinHostPort(u.Hostname(), port), nil
}
