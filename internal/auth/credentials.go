package auth

import (
	"crypto/ecdsa"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"os"
	"sync"
	"time"

	"go.uber.org/zap"
	"google.golang.org/grpc"

	"github.com/carillon-cron/carillon/internal/datadir"
	"github.com/carillon-cron/carillon/job"
)

// ErrNotJoined is returned before the minion has a certificate.
var ErrNotJoined = errors.New("the minion has not joined a cluster yet")

// CredentialsConfig says where a minion's credentials are and how it gets them.
type CredentialsConfig struct {
	// Dir holds the key and the certificates; it is made where there is none,
	// and belongs to one minion.
	Dir string
	// ID is the minion's.
	ID job.MinionID
	// Servers are the host:port of nodes; at least one.
	Servers []string
	// Token is the text of a join token. Empty: an operator approves.
	Token string
	// CAFile is the certificate of the cluster's authority, in PEM. Empty: the
	// token tells which it is, or TrustOnFirstUse is set.
	CAFile string
	// TrustOnFirstUse accepts whatever node answers first, and its cluster from
	// then on.
	TrustOnFirstUse bool
	// Poll is how long the minion waits before it asks again whether it was
	// approved, if the node does not say. Default 5 s.
	Poll time.Duration
	// DialOptions are added to those of the connections to nodes, which are
	// made for one question each.
	DialOptions []grpc.DialOption
}

// CredentialsDeps is what Credentials work with; all may be nil.
type CredentialsDeps struct {
	Logger *zap.Logger
	Now    func() time.Time
}

// Credentials are a minion's key and certificates. Join and Run are called by
// one goroutine at a time, the rest by any.
type Credentials struct {
	cfg   CredentialsConfig
	dir   directory
	log   *zap.Logger
	now   func() time.Time
	token *JoinToken // nil: none
	key   *ecdsa.PrivateKey
	print Fingerprint
	cache *sessions

	mu sync.Mutex
	// mu guards what follows.

	ca      *x509.Certificate // nil before the first contact
	cert    *tls.Certificate  // nil before the minion has joined
	renewAt time.Time
	used    string // ID of the token that was used last
}

// Open reads the credentials in a directory, and makes the key where there is
// none. It does not connect to anything.
func Open(cfg CredentialsConfig, deps CredentialsDeps) (*Credentials, error) {
	c := &Credentials{cfg: cfg, dir: directory(cfg.Dir), log: deps.Logger, now: deps.Now, cache: newSessions()}
	if c.log == nil {
		c.log = zap.NewNop()
	}
	if c.now == nil {
		c.now = time.Now
	}
	if c.cfg.Poll == 0 {
		c.cfg.Poll = 5 * time.Second
	}
	if err := c.check(); err != nil {
		return nil, err
	}
	if err := datadir.Make(cfg.Dir, datadir.Private, c.log); err != nil {
		return nil, fmt.Errorf("directory of the credentials: %w", err)
	}
	if err := c.load(); err != nil {
		return nil, err
	}
	return c, nil
}

// check tells all that is wrong with the configuration.
func (c *Credentials) check() error {
	var problems []job.Problem
	add := func(path, format string, args ...any) {
		problems = append(problems, job.Problem{Path: path, Message: fmt.Sprintf(format, args...)})
	}
	if c.cfg.Dir == "" {
		add("dir", "is empty; give a directory that only this minion uses")
	}
	if err := job.CheckName(string(c.cfg.ID)); err != nil {
		add("id", "%v", err)
	}
	if len(c.cfg.Servers) == 0 {
		add("servers", "is empty; give the host:port of at least one node")
	}
	for _, s := range c.cfg.Servers {
		if _, port, err := net.SplitHostPort(s); err != nil || port == "" {
			add("servers", "%q is not host:port, as in \"node1:7420\"", s)
		}
	}
	if c.cfg.Poll < 0 {
		add("poll", "is %s; give a positive duration, or 0 for the default", c.cfg.Poll)
	}
	if c.cfg.Token != "" {
		t, err := ParseToken(c.cfg.Token)
		if err != nil {
			add("token", "%v", err)
		}
		c.token = &t
	}
	if len(problems) > 0 {
		return &job.InvalidError{Problems: problems}
	}
	return nil
}

// load reads the files.
func (c *Credentials) load() (err error) {
	if c.key, err = c.dir.key(); err != nil {
		return err
	}
	if c.print, err = FingerprintOf(c.key.Public()); err != nil {
		return err
	}
	if c.ca, err = c.dir.ca(); err != nil {
		return err
	}
	if c.cfg.CAFile != "" {
		if err := c.loadGivenCA(); err != nil {
			return err
		}
	}
	if c.token != nil && c.ca != nil && CAHash(c.ca) != c.token.CAHash {
		return fmt.Errorf("token %s is of another cluster than the authority this minion knows (%s); give a token of that cluster; if this minion is to join another one, or that one has a new authority, remove %s and %s",
			c.token, CAHash(c.ca), c.dir.path(caFile), certFile)
	}
	if c.used, err = c.dir.used(); err != nil {
		return err
	}
	if c.cert, err = c.dir.certificate(c.key, c.ca, c.cfg.ID); err != nil {
		return err
	}
	if c.cert != nil {
		c.renewAt = renewal(c.cert.Leaf, c.cert.Leaf.NotBefore.Add(Skew))
	}
	return nil
}

func (c *Credentials) loadGivenCA() error {
	text, err := os.ReadFile(c.cfg.CAFile)
	if err != nil {
		return fmt.Errorf("the authority's certificate: %w", err)
	}
	given, err := parseCA(text)
	if err != nil {
		return fmt.Errorf("%s: %w", c.cfg.CAFile, err)
	}
	if c.ca != nil && !c.ca.Equal(given) {
		return fmt.Errorf("%s is not the authority of the cluster that this minion joined; if it is to join another one, or that one has a new authority, remove %s and %s",
			c.cfg.CAFile, c.dir.path(caFile), certFile)
	}
	c.ca = given
	return nil
}

// TLS returns the configuration of connections to nodes. It always shows the
// certificate of now, and none once that has expired. Before the minion has
// joined, the error is ErrNotJoined.
func (c *Credentials) TLS() (*tls.Config, error) {
	c.mu.Lock()
	ca, cert := c.ca, c.cert
	c.mu.Unlock()
	if ca == nil || cert == nil {
		return nil, ErrNotJoined
	}
	return ClientTLS(ClientConfig{CA: ca, Certificate: c.certificate, Sessions: c.cache, Now: c.now})
}

// certificate returns the certificate to show, nil where there is no good one.
func (c *Credentials) certificate() (*tls.Certificate, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.cert == nil || !c.now().Before(c.cert.Leaf.NotAfter) {
		return nil, nil
	}
	return c.cert, nil
}

// Standing is how a minion's credentials are.
type Standing struct {
	// Fingerprint is of the minion's key: what an operator compares.
	Fingerprint Fingerprint
	// Identity and Expires are of its certificate; zero before it has joined.
	Identity Identity
	Expires  time.Time
	// RenewAt is when it will be renewed.
	RenewAt time.Time
	// CAHash is of the cluster's authority; empty before the first contact.
	CAHash string
}

// Standing returns how the credentials are now.
func (c *Credentials) Standing() Standing {
	c.mu.Lock()
	defer c.mu.Unlock()
	s := Standing{Fingerprint: c.print, RenewAt: c.renewAt}
	if c.ca != nil {
		s.CAHash = CAHash(c.ca)
	}
	if c.cert != nil {
		s.Expires = c.cert.Leaf.NotAfter
		s.Identity, _ = IdentityOf(c.cert.Leaf) // it was checked when it came
	}
	return s
}

// install checks and keeps a certificate that a node has issued, in DER, and
// the authority that the node is known to have.
func (c *Credentials) install(der []byte, ca *x509.Certificate) error {
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		return fmt.Errorf("the node's answer holds no certificate: %w", err)
	}
	if err := checkOwn(leaf, c.key, ca, c.cfg.ID); err != nil {
		return fmt.Errorf("the node's answer: %w", err)
	}
	now := c.now()
	if now.Before(leaf.NotBefore) || !now.Before(leaf.NotAfter) {
		return fmt.Errorf("the new certificate is good from %s to %s, and this host's clock says %s; set the clock",
			leaf.NotBefore.Format(time.RFC3339), leaf.NotAfter.Format(time.RFC3339), now.UTC().Format(time.RFC3339))
	}
	// The authority first: a certificate without it cannot be read again.
	if err := c.dir.write(caFile, certificatePEM(ca.Raw)); err != nil {
		return err
	}
	if err := c.dir.write(certFile, certificatePEM(der)); err != nil {
		return err
	}
	c.mu.Lock()
	c.ca, c.cert = ca, &tls.Certificate{Certificate: [][]byte{der}, PrivateKey: c.key, Leaf: leaf}
	// From now, not from its issue: a host whose clock is hours ahead would
	// renew again and again.
	c.renewAt = renewal(leaf, now)
	c.mu.Unlock()
	// A ticket speaks for the certificate that it was given to.
	c.cache.clear()
	return nil
}

// sessions is a session cache that can be emptied.
type sessions struct {
	mu    sync.Mutex
	cache tls.ClientSessionCache // mu guards it
}

func newSessions() *sessions {
	s := &sessions{}
	s.clear()
	return s
}

func (s *sessions) now() tls.ClientSessionCache {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.cache
}

func (s *sessions) clear() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.cache = tls.NewLRUClientSessionCache(sessionCount)
}

func (s *sessions) Get(key string) (*tls.ClientSessionState, bool) { return s.now().Get(key) }

func (s *sessions) Put(key string, cs *tls.ClientSessionState) { s.now().Put(key, cs) }
