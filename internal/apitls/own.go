package apitls

import (
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"

	"go.uber.org/zap"

	"github.com/carillon-cron/carillon/job"
)

// maxAddresses bounds the addresses of the host that one certificate names: a host
// may have as many as it likes.
const maxAddresses = 64

// Authority is the cluster's, as Own needs it.
type Authority interface {
	// IssueServer makes a key and a certificate for a server.
	IssueServer(node job.NodeID, hosts []string, ttl time.Duration, at time.Time) (*tls.Certificate, error)
}

// OwnConfig says what a certificate of the cluster's authority is for.
type OwnConfig struct {
	// Node is this node; it must be given.
	Node job.NodeID
	// Hosts are names and addresses by which the API may be asked, besides loopback
	// and the addresses at which clients come. There may be none.
	Hosts []string
	// TTL is how long a certificate lasts; 0: a week. At least a minute.
	TTL time.Duration
}

// Own is a certificate that the cluster's authority makes for this node. Its methods
// may be called by any number of goroutines.
type Own struct {
	cfg       OwnConfig
	deps      Deps
	authority Authority
	hosts     []string

	mu sync.Mutex
	// mu guards what follows.

	cert      *tls.Certificate
	renewAt   time.Time
	addresses []netip.Addr // at which clients have come
}

// NewOwn makes the first certificate.
func NewOwn(cfg OwnConfig, authority Authority, deps Deps) (*Own, error) {
	if cfg.TTL == 0 {
		cfg.TTL = 7 * 24 * time.Hour
	}
	if authority == nil || cfg.TTL < time.Minute {
		return nil, errors.New("apitls: an authority and a life of a minute or more must be given")
	}
	o := &Own{cfg: cfg, deps: deps.filled(), authority: authority, hosts: []string{"localhost", "127.0.0.1", "::1"}}
	for _, h := range cfg.Hosts {
		if h = normal(h); h != "" {
			o.hosts = append(o.hosts, h)
		}
	}
	if err := o.issue(); err != nil {
		return nil, err
	}
	return o, nil
}

// Certificate implements Source.
func (o *Own) Certificate(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	now := o.deps.Now()
	good := now.Before(o.renewAt) && !now.Before(o.cert.Leaf.NotBefore)
	at, ok := localAddress(hello)
	if good && (!ok || o.cert.Leaf.VerifyHostname(at.String()) == nil) {
		return o.cert, nil
	}
	if ok && !slices.Contains(o.addresses, at) {
		if len(o.addresses) >= maxAddresses {
			o.addresses = nil // those that are in use come again
		}
		o.addresses = append(o.addresses, at)
	}
	if err := o.issue(); err != nil {
		o.deps.Logger.Error("no certificate for the API", zap.Error(err))
		return nil, err
	}
	return o.cert, nil
}

// Expires implements Source.
func (o *Own) Expires() time.Time {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.cert.Leaf.NotAfter
}

// issue makes a certificate. The caller holds mu, or is the only one yet.
func (o *Own) issue() error {
	hosts := slices.Clone(o.hosts)
	for _, a := range o.addresses {
		hosts = append(hosts, a.String())
	}
	now := o.deps.Now()
	cert, err := o.authority.IssueServer(o.cfg.Node, hosts, o.cfg.TTL, now)
	if err != nil {
		return fmt.Errorf("a certificate for the API from the cluster's authority: %w", err)
	}
	o.cert, o.renewAt = cert, now.Add(cert.Leaf.NotAfter.Sub(now)*2/3)
	return nil
}

// normal returns a host as certificates name it; empty: it is no host that one can
// ask for.
func normal(host string) string {
	host = strings.TrimSuffix(strings.ToLower(strings.Trim(host, "[]")), ".")
	ip, err := netip.ParseAddr(host)
	switch {
	case err != nil:
		return host
	case ip.IsUnspecified():
		return ""
	}
	return ip.Unmap().WithZone("").String()
}

// localAddress is the address of this host at which a client has come.
func localAddress(hello *tls.ClientHelloInfo) (netip.Addr, bool) {
	if hello == nil || hello.Conn == nil {
		return netip.Addr{}, false
	}
	tcp, ok := hello.Conn.LocalAddr().(*net.TCPAddr)
	if !ok {
		return netip.Addr{}, false
	}
	ip := tcp.AddrPort().Addr().Unmap().WithZone("")
	return ip, ip.IsValid() && !ip.IsUnspecified()
}
