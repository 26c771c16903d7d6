package client

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"
)

const (
	// DialTimeout bounds the way to the server, RequestTimeout an answer that is not
	// a stream.
	DialTimeout    = 5 * time.Second
	RequestTimeout = 30 * time.Second

	// DefaultServer is where a node answers whose settings say nothing else.
	DefaultServer = "https://127.0.0.1:8420"

	// socketScheme begins the address of a node's local socket.
	socketScheme = "unix://"
)

// Config says which server is asked, and how. The zero value asks DefaultServer.
type Config struct {
	// Server is a URL, HOST:PORT, or unix:// and the path of a node's local socket.
	// Empty: DefaultServer. HOST:PORT is asked by TLS, as nodes speak it that are told
	// nothing else.
	Server string
	// CA holds the certificates, in PEM, of the authorities of which one must have
	// made the server's, as [Enrollment.Authority] tells the cluster's. Empty: those
	// that this host trusts. It counts for https only.
	CA []byte
	// Token is a token of the API that each request shows. Empty: none is shown. It is
	// sent by TLS, on loopback, and over a local socket only.
	Token string
	// Agent is what the server's log calls the program. Empty: "carillon-client".
	Agent string
	// Dial, unless nil, opens the connections, in place of the host's network.
	Dial func(ctx context.Context, network, address string) (net.Conn, error)
	// By is who asks, for the audit. It counts where the connection proves nothing.
	// Empty: it is not said, but in the orders that are asked for.
	By string
}

// Client asks one server. It is safe for concurrent use; Close gives its connections
// back.
type Client struct {
	Jobs       Jobs
	Runs       Runs
	Pauses     Pauses
	Backfills  Backfills
	Groups     Groups
	Calendars  Calendars
	Scripts    Scripts
	Secrets    Secrets
	Notifiers  Notifiers
	Defaults   Defaults
	HostGroups HostGroups
	Roles      Roles
	Bindings   RoleBindings
	Minions    Minions
	Enrollment Enrollment
	Updates    Updates
	Nodes      Nodes
	Sites      Sites
	Etcd       Etcd
	Shards     Shards
	Locks      Locks
	Queues     Queues
	Plans      Plans
	Cluster    Cluster
	Standby    Standby
	Tokens     Tokens
	Auth       Auth
	Audit      Audit

	conn *conn
}

// New returns a client. It sends nothing yet.
func New(cfg Config) (*Client, error) {
	address, agent := cfg.Server, cfg.Agent
	if address == "" {
		address = DefaultServer
	}
	if agent == "" {
		agent = "carillon-client"
	}
	dialer := net.Dialer{Timeout: DialTimeout}
	dial := dialer.DialContext
	if cfg.Dial != nil {
		dial = cfg.Dial
	}
	path, local := strings.CutPrefix(address, socketScheme)
	if local {
		address = "http://localhost"
		dial = func(ctx context.Context, _, _ string) (net.Conn, error) { return dialer.DialContext(ctx, "unix", path) }
	}
	if !strings.Contains(address, "://") {
		address = "https://" + address
	}
	conf, err := tlsConfig(cfg.CA)
	if err != nil {
		return nil, err
	}
	base, err := url.Parse(address)
	if err != nil || base.Host == "" || base.Scheme != "http" && base.Scheme != "https" {
		return nil, fmt.Errorf("server %q: want a URL such as %s", address, DefaultServer)
	}
	if cfg.Token != "" {
		if strings.ContainsFunc(cfg.Token, func(r rune) bool { return r <= ' ' || r > '~' }) {
			return nil, errors.New("the token has characters that none has; copy it as a whole, without spaces")
		}
		if err := inClear(base); err != nil {
			return nil, err
		}
	}
	c := &conn{base: base, agent: agent, token: cfg.Token, by: headerText(cfg.By), http: &http.Client{
		CheckRedirect: notElsewhere,
		Transport: &http.Transport{
			Proxy: http.ProxyFromEnvironment, DialContext: dial, ForceAttemptHTTP2: true,
			TLSClientConfig: conf, TLSHandshakeTimeout: DialTimeout,
		},
	}}
	return &Client{
		Jobs: Jobs{c}, Runs: Runs{c}, Pauses: Pauses{c}, Backfills: Backfills{c}, Groups: Groups{c},
		Calendars: Calendars{c}, Scripts: Scripts{c}, Secrets: Secrets{c}, Notifiers: Notifiers{c}, Defaults: Defaults{c}, HostGroups: HostGroups{c}, Roles: Roles{c}, Bindings: RoleBindings{c}, Minions: Minions{c},
		Enrollment: Enrollment{c}, Updates: Updates{c}, Nodes: Nodes{c}, Sites: Sites{c}, Etcd: Etcd{c}, Shards: Shards{c}, Locks: Locks{c}, Queues: Queues{c}, Plans: Plans{c},
		Cluster: Cluster{c}, Standby: Standby{c}, Tokens: Tokens{c}, Auth: Auth{c}, Audit: Audit{c}, conn: c,
	}, nil
}

// Server is the address that is asked, as a URL.
func (c *Client) Server() string { return c.conn.base.String() }

// Close gives up connections that are not in use.
func (c *Client) Close() { c.conn.http.CloseIdleConnections() }
