package auth

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"sync"
	"time"

	"go.uber.org/zap"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/status"

	"github.com/carillon-cron/carillon/internal/auth/authpb"
	"github.com/carillon-cron/carillon/internal/backoff"
)

// ErrRefused is returned when the cluster refuses the minion, and asking again
// does not help.
var ErrRefused = errors.New("the cluster refused this host")

const (
	// askTimeout bounds one question to one node.
	askTimeout = 10 * time.Second
	// retryLeast and retryMost bound the pauses after no node gave an answer.
	retryLeast = time.Second
	retryMost  = 5 * time.Minute
)

// Join gets the minion's certificate: by the token, or else by asking until an
// operator approves. It does nothing where there is a good certificate, unless
// a token is given that was not used before. It tries again for as long as ctx
// lives; the error is ErrRefused, one of a server that is not of this cluster,
// one of the directory, or ctx's cause.
func (c *Credentials) Join(ctx context.Context) error {
	cert, err := c.certificate()
	if err != nil {
		return err
	}
	if cert != nil && (c.token == nil || c.token.ID == c.used) {
		return nil
	}
	return c.join(ctx)
}

// Run renews the certificate after two thirds of its life, until ctx ends, and
// returns nil then. What goes wrong is logged, and tried again. Before Join has
// succeeded once, the error is ErrNotJoined.
func (c *Credentials) Run(ctx context.Context) error {
	if c.Standing().Expires.IsZero() {
		return ErrNotJoined
	}
	retry := backoff.Backoff{Least: retryLeast, Most: retryMost}
	for backoff.Sleep(ctx, c.Standing().RenewAt.Sub(c.now())) {
		err := c.renew(ctx)
		if err == nil {
			retry.Reset()
			s := c.Standing()
			c.log.Info("certificate was renewed", zap.Time("expires", s.Expires), zap.Time("renewAt", s.RenewAt))
			continue
		}
		if ctx.Err() != nil {
			break
		}
		c.log.Warn("certificate was not renewed, trying again", zap.Time("expires", c.Standing().Expires), zap.Error(err))
		if !retry.Pause(ctx) {
			break
		}
	}
	return nil
}

// renew gets a new certificate by the present one, or by the key alone where
// that has expired.
func (c *Credentials) renew(ctx context.Context) error {
	cert, err := c.certificate()
	if err != nil {
		return err
	}
	if cert == nil {
		return c.join(ctx)
	}
	conf, err := c.TLS()
	if err != nil {
		return err
	}
	csr, err := NewRequest(c.cfg.ID, c.key)
	if err != nil {
		return err
	}
	return c.ask(ctx, conf, func(ctx context.Context, e authpb.EnrollClient) error {
		answer, err := e.Renew(ctx, &authpb.RenewRequest{Csr: csr})
		if err != nil {
			return err
		}
		c.mu.Lock()
		ca := c.ca
		c.mu.Unlock()
		return c.install(answer.GetCertificate(), ca)
	})
}

// join asks for a certificate by the key until there is one.
func (c *Credentials) join(ctx context.Context) error {
	first, err := c.firstContact()
	if err != nil {
		return err
	}
	csr, err := NewRequest(c.cfg.ID, c.key)
	if err != nil {
		return err
	}
	req := &authpb.JoinRequest{Minion: string(c.cfg.ID), Csr: csr}
	if c.token != nil {
		req.Token = c.token.Text()
	}
	retry := backoff.Backoff{Least: retryLeast, Most: retryMost}
	told := false
	for {
		var answer *authpb.JoinResponse
		err := c.ask(ctx, first.config(c.now), func(ctx context.Context, e authpb.EnrollClient) (err error) {
			answer, err = e.Join(ctx, req)
			return err
		})
		switch {
		case ctx.Err() != nil:
			return context.Cause(ctx)
		case err != nil && (errors.Is(err, ErrRefused) || errors.Is(err, errUntrusted)):
			return err
		case err != nil:
			c.log.Warn("could not join, trying again", zap.Error(err))
			if !retry.Pause(ctx) {
				return context.Cause(ctx)
			}
			continue
		case !answer.GetPending():
			return c.joined(answer, first)
		}
		retry.Reset()
		if !told {
			told = true
			c.log.Info("waiting for an operator to approve this minion; compare the fingerprint of its key",
				zap.String("minion", string(c.cfg.ID)), zap.String("fingerprint", string(c.print)))
		}
		wait := time.Duration(answer.GetRetryAfter())
		if wait <= 0 || wait > retryMost {
			wait = c.cfg.Poll
		}
		if !backoff.Sleep(ctx, backoff.Jittered(wait)) {
			return context.Cause(ctx)
		}
	}
}

// joined keeps what a node answered.
func (c *Credentials) joined(answer *authpb.JoinResponse, first *firstContact) error {
	ca, err := x509.ParseCertificate(answer.GetCa())
	if err != nil {
		return fmt.Errorf("the node's answer holds no authority's certificate: %w", err)
	}
	if known := first.known(); known == nil || !ca.Equal(known) {
		return fmt.Errorf("%w: it answered with an authority that is not its own", errUntrusted)
	}
	if first.trusting() {
		c.log.Warn("the cluster's authority was trusted because it was the first one seen", zap.String("caHash", CAHash(ca)))
	}
	if err := c.install(answer.GetCertificate(), ca); err != nil {
		return err
	}
	c.log.Info("joined the cluster", zap.String("minion", string(c.cfg.ID)), zap.String("fingerprint", string(c.print)),
		zap.String("caHash", CAHash(ca)), zap.Time("expires", c.Standing().Expires))
	if c.token == nil {
		return nil
	}
	if err := c.dir.write(usedFile, []byte(c.token.ID+"\n")); err != nil {
		return err
	}
	c.used = c.token.ID
	return nil
}

// ask asks the nodes one after another, beginning anywhere, until one answers.
// A refusal is an answer. Where not one could be trusted, the error says so.
func (c *Credentials) ask(ctx context.Context, conf *tls.Config, question func(context.Context, authpb.EnrollClient) error) error {
	var errs []error
	trusted := false
	for _, i := range rand.Perm(len(c.cfg.Servers)) {
		server := c.cfg.Servers[i]
		err := c.askOne(ctx, server, conf, question)
		if err == nil || ctx.Err() != nil || errors.Is(err, ErrRefused) {
			return err
		}
		trusted = trusted || !errors.Is(err, errUntrusted)
		errs = append(errs, fmt.Errorf("%s: %w", server, err))
	}
	err := errors.Join(errs...)
	if trusted {
		// One of them may be another cluster's; the others may come back.
		return errors.New("no node answered: " + err.Error())
	}
	return err
}

func (c *Credentials) askOne(ctx context.Context, server string, conf *tls.Config, question func(context.Context, authpb.EnrollClient) error) error {
	return askNode(ctx, server, conf, c.cfg.DialOptions, question)
}

// askNode asks one node one question.
func askNode(ctx context.Context, server string, conf *tls.Config, opts []grpc.DialOption, question func(context.Context, authpb.EnrollClient) error) error {
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	// gRPC makes text of what a handshake fails with; the cause is kept here.
	hands := &handshakes{}
	conn, err := grpc.NewClient(server, append([]grpc.DialOption{
		grpc.WithTransportCredentials(&watched{credentials.NewTLS(conf), hands}),
	}, opts...)...)
	if err != nil {
		return fmt.Errorf("connect: %w", err)
	}
	defer func() { _ = conn.Close() }() // nothing is left in it
	err = question(ctx, authpb.NewEnrollClient(conn))
	switch status.Code(err) {
	case codes.InvalidArgument, codes.PermissionDenied, codes.AlreadyExists, codes.Unauthenticated:
		return fmt.Errorf("%w: %s", ErrRefused, status.Convert(err).Message())
	}
	if err == nil {
		return nil
	}
	failed := hands.last()
	if failed == nil {
		return err
	}
	var (
		host  x509.HostnameError
		plain tls.RecordHeaderError
	)
	switch {
	case errors.As(failed, &host), errors.As(failed, &plain), errors.Is(failed, errUnnamed):
		return fmt.Errorf("no node answers minions by TLS at this port; give a node's port for minions and peers (7420 by default), not that of its API (8420 by default): %w", failed)
	case errors.Is(failed, errUntrusted):
		return failed
	}
	return err
}

// handshakes keeps what the last handshake of a connection failed with.
type handshakes struct {
	mu  sync.Mutex
	err error // mu guards it
}

func (h *handshakes) last() error {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.err
}

// watched are credentials whose handshakes are kept.
type watched struct {
	credentials.TransportCredentials
	to *handshakes
}

// ClientHandshake implements credentials.TransportCredentials.
func (w *watched) ClientHandshake(ctx context.Context, authority string, raw net.Conn) (net.Conn, credentials.AuthInfo, error) {
	conn, info, err := w.TransportCredentials.ClientHandshake(ctx, authority, raw)
	w.to.mu.Lock()
	defer w.to.mu.Unlock()
	w.to.err = err
	return conn, info, err
}

// Clone implements credentials.TransportCredentials.
func (w *watched) Clone() credentials.TransportCredentials {
	return &watched{w.TransportCredentials.Clone(), w.to}
}

// firstContact says which authority is the cluster's, before one has verified
// this minion.
type firstContact struct {
	given *x509.Certificate // nil: accept decides
	token *JoinToken        // nil: trust what is seen first

	mu   sync.Mutex
	seen *x509.Certificate // mu guards it
}

func (c *Credentials) firstContact() (*firstContact, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.ca == nil && c.token == nil && !c.cfg.TrustOnFirstUse {
		return nil, errors.New("nothing tells this minion which cluster is the right one: give it a join token (--join-token-file), " +
			"or the certificate of the cluster's authority as a file (--ca), or allow it to trust the first node that answers (--trust-on-first-use)")
	}
	return &firstContact{given: c.ca, token: c.token}, nil
}

// known returns the authority that the node was verified by.
func (f *firstContact) known() *x509.Certificate {
	if f.given != nil {
		return f.given
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.seen
}

func (f *firstContact) trusting() bool { return f.given == nil && f.token == nil }

// config returns the TLS of a connection on which the minion shows no
// certificate: it may have been revoked, or have expired.
func (f *firstContact) config(now func() time.Time) *tls.Config {
	conf := &tls.Config{
		MinVersion: tls.VersionTLS13, ServerName: ServerName, NextProtos: []string{"h2"}, Time: now,
		VerifyConnection: verifyServer,
	}
	if f.given != nil {
		conf.RootCAs = poolOf(f.given)
		return conf
	}
	// The roots are not known: VerifyConnection verifies the chain instead.
	conf.InsecureSkipVerify = true
	conf.VerifyConnection = func(cs tls.ConnectionState) error {
		ca, err := verifyFirst(cs, now(), f.accept)
		if err != nil {
			return err
		}
		f.mu.Lock()
		defer f.mu.Unlock()
		f.seen = ca
		return nil
	}
	return conf
}

func (f *firstContact) accept(ca *x509.Certificate) error {
	if f.token == nil {
		return nil
	}
	if h := CAHash(ca); h != f.token.CAHash {
		return fmt.Errorf("its authority is %s, the token is of %s", h, f.token.CAHash)
	}
	return nil
}
