package app

import (
	"errors"
	"fmt"
	"net"
	"slices"
)

// listen opens the node's ports.
func (n *Node) listen() error {
	var errs []error
	for _, l := range []struct {
		flag, addr string
		to         *net.Listener
	}{{"--listen", n.cfg.Listen, &n.apiListener}, {"--peer-listen", n.cfg.PeerListen, &n.peerListener}} {
		opened, err := net.Listen("tcp", l.addr)
		if err != nil {
			errs = append(errs, fmt.Errorf("%s %s: %w; free the port, or give another", l.flag, l.addr, err))
			continue
		}
		*l.to = opened
		n.onClose(func() { _ = opened.Close() })
	}
	return errors.Join(errs...)
}

// APIAddr is where the API and the page are.
func (n *Node) APIAddr() string { return n.apiListener.Addr().String() }

// PeerAddr is where minions and peers connect.
func (n *Node) PeerAddr() string { return n.peerListener.Addr().String() }

// advertise is a listener's address as others reach it.
func (n *Node) advertise(l net.Listener) string {
	if n.cfg.Advertise == "" {
		return l.Addr().String()
	}
	_, port, err := net.SplitHostPort(l.Addr().String())
	if err != nil {
		return l.Addr().String()
	}
	return net.JoinHostPort(n.cfg.Advertise, port)
}

// names are what the node's certificate is good for besides its own name.
func (n *Node) names() []string {
	var names []string
	for _, addr := range []string{n.advertise(n.peerListener), n.PeerAddr()} {
		if host, _, err := net.SplitHostPort(addr); err == nil && host != "" {
			names = append(names, host)
		}
	}
	return names
}

// authority returns the certificate of the cluster's authority as PEM; empty:
// connections are plain.
func (n *Node) authority() string {
	if n.registrar == nil {
		return ""
	}
	return string(n.registrar.Authority().CertificatePEM())
}

// hosts are the names by which the API may be asked besides the address that a
// request comes to.
func (n *Node) hosts() []string {
	hosts := append(slices.Clone(n.cfg.APIHosts), n.cfg.Advertise)
	if host, _, err := net.SplitHostPort(n.cfg.Listen); err == nil {
		hosts = append(hosts, host)
	}
	return hosts
}
