package registrar

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/peer"
	"google.golang.org/grpc/status"

	"github.com/carillon-cron/carillon/internal/auth"
	"github.com/carillon-cron/carillon/internal/auth/authpb"
	"github.com/carillon-cron/carillon/internal/backoff"
	"github.com/carillon-cron/carillon/internal/etcdkv"
	"github.com/carillon-cron/carillon/job"
)

const (
	// attempts bounds how often a decision is made again that crossed another.
	attempts = 16
	// retryAfter is when a minion asks again that waits for an operator.
	retryAfter = 5 * time.Second
	// mostAhead is how many certificates of one minion may be issued faster than
	// one a second. Each is of an instant after the last one's (invariant 5), so
	// that who asks on and on would get some that are good for years, and keep
	// etcd writing.
	mostAhead = 600
)

// Join implements authpb.EnrollServer. The caller need not show a certificate,
// and one that it shows counts for nothing.
func (r *Registrar) Join(ctx context.Context, req *authpb.JoinRequest) (*authpb.JoinResponse, error) {
	if err := within(r.ranges.join, req); err != nil {
		return nil, err
	}
	a, err := r.asked(ctx, job.MinionID(req.GetMinion()), req.GetCsr())
	if err != nil {
		return nil, err
	}
	token := ""
	if req.GetToken() != "" {
		t, err := auth.ParseToken(req.GetToken())
		if err != nil {
			return nil, status.Error(codes.InvalidArgument, err.Error())
		}
		a.token, token = &t, t.ID
	}
	leave, err := r.turn(ctx, a.token)
	if err != nil {
		return nil, err
	}
	defer leave()
	d, err := r.settle(ctx, a.id, token, func(v *view) (*decision, error) { return r.join(v, a) })
	if err != nil {
		return nil, err
	}
	if d.certificate == nil {
		return &authpb.JoinResponse{Pending: true, RetryAfter: int64(retryAfter)}, nil
	}
	return &authpb.JoinResponse{Certificate: d.certificate, Ca: r.ca.Certificate().Raw}, nil
}

// Renew implements authpb.EnrollServer. The caller's certificate says who it
// is; the key stays the same.
func (r *Registrar) Renew(ctx context.Context, req *authpb.RenewRequest) (*authpb.RenewResponse, error) {
	who, err := auth.FromPeer(ctx)
	if err != nil {
		return nil, status.Errorf(codes.Unauthenticated, "%v; a minion renews its certificate by its present one", err)
	}
	id, ok := who.Minion()
	if !ok {
		return nil, status.Errorf(codes.PermissionDenied, "%s is not a minion, and has no certificate to renew here", who)
	}
	if err := within(r.ranges.renew, req); err != nil {
		return nil, err
	}
	a, err := r.asked(ctx, id, req.GetCsr())
	if err != nil {
		return nil, err
	}
	d, err := r.settle(ctx, id, "", func(v *view) (*decision, error) { return r.renew(v, a, who) })
	if err != nil {
		return nil, err
	}
	return &authpb.RenewResponse{Certificate: d.certificate}, nil
}

// turn waits until it is the caller's turn; the function it returns ends that. There is a
// lane for each kind: those who have a good token wait for nobody else.
func (r *Registrar) turn(ctx context.Context, t *auth.JoinToken) (func(), error) {
	lane := r.requests
	if t != nil {
		good, err := r.good(ctx, t)
		if err != nil {
			return nil, err
		}
		if good {
			lane = r.tokens
		}
	}
	select {
	case lane <- struct{}{}:
		return func() { <-lane }, nil
	case <-ctx.Done():
		return nil, status.FromContextError(ctx.Err()).Err()
	}
}

// good reports whether a token is one of the cluster's, now. What cannot be read
// is not good yet, and decided on later. The error is that ctx has ended.
func (r *Registrar) good(ctx context.Context, t *auth.JoinToken) (bool, error) {
	select {
	case r.lookups <- struct{}{}:
		defer func() { <-r.lookups }()
	case <-ctx.Done():
		return false, status.FromContextError(ctx.Err()).Err()
	}
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	key := r.keys.AuthToken(t.ID)
	got, err := r.client.Get(ctx, key)
	if err != nil {
		return false, nil
	}
	e, err := r.token(key, got.Kvs)
	return err == nil && e.exists() && t.Matches(e.value.SecretHash), nil
}

// ask is who asks for a certificate.
type ask struct {
	id    job.MinionID
	csr   []byte
	key   auth.Fingerprint
	from  string
	token *auth.JoinToken // nil: none
}

func (r *Registrar) asked(ctx context.Context, id job.MinionID, csr []byte) (*ask, error) {
	req, err := auth.CheckRequest(csr, id)
	if err != nil {
		return nil, status.Error(codes.InvalidArgument, err.Error())
	}
	key, err := auth.FingerprintOf(req.PublicKey)
	if err != nil {
		return nil, status.Error(codes.InvalidArgument, err.Error())
	}
	a := &ask{id: id, csr: csr, key: key}
	if p, ok := peer.FromContext(ctx); ok {
		a.from = p.Addr.String()
	}
	return a, nil
}

// decision is what is written, and answered once it is.
type decision struct {
	ops         []clientv3.Op
	certificate []byte // DER; nil: none
	// refused is answered in place of a certificate.
	refused error
	// note is logged once the decision is written.
	note   string
	fields []zap.Field
	// written, unless nil, is called once the decision is written.
	written func()
}

// settle decides from what is stored until the decision is committed.
func (r *Registrar) settle(ctx context.Context, id job.MinionID, token string, decide func(*view) (*decision, error)) (*decision, error) {
	retry := backoff.Backoff{Least: 10 * time.Millisecond, Most: 100 * time.Millisecond, Full: true}
	for try := range attempts {
		if try > 0 && !retry.Pause(ctx) {
			return nil, status.FromContextError(ctx.Err()).Err()
		}
		v, err := r.look(ctx, id, token)
		if err != nil {
			return nil, r.failed(id, err)
		}
		d, err := decide(v)
		if _, refusal := status.FromError(err); err != nil && refusal {
			return nil, err
		}
		if err != nil {
			return nil, r.failed(id, err)
		}
		done, err := r.commit(ctx, v, d.ops)
		if err != nil {
			return nil, r.failed(id, err)
		}
		if !done {
			continue
		}
		if d.written != nil {
			d.written()
		}
		if d.note != "" {
			r.log.Info(d.note, append(d.fields, zap.String("minion", string(id)))...)
		}
		return d, d.refused
	}
	return nil, status.Errorf(codes.Aborted, "minion %s: too many others enroll at this moment; ask again", id)
}

// failed is the answer to an error that is not a refusal. What went wrong
// inside is for the log, not for a caller that may be anybody.
func (r *Registrar) failed(id job.MinionID, err error) error {
	r.log.Warn("enrollment failed", zap.String("minion", string(id)), zap.Error(err))
	if errors.Is(err, job.ErrUnavailable) || errors.Is(err, context.Canceled) {
		return status.Error(codes.Unavailable, "the cluster's store does not answer; ask again")
	}
	return status.Error(codes.Internal, "the node failed; its log says why")
}

// issue makes the certificate and the record of it.
func (r *Registrar) issue(v *view, a *ask, rec etcdkv.Enrollment) (*decision, error) {
	// Later than every certificate of this minion, revoked ones included.
	at := r.now().UTC().Truncate(time.Second)
	rec.Ahead = 0
	for _, last := range []time.Time{v.minion.value.IssuedAt, v.revoked.value.Before} {
		if !at.After(last) {
			at = last.Truncate(time.Second).Add(time.Second)
			rec.Ahead = v.minion.value.Ahead + 1
		}
	}
	if rec.Ahead > mostAhead {
		return nil, status.Errorf(codes.ResourceExhausted, "minion %s: %d certificates were issued one right after the other; ask again later", a.id, mostAhead)
	}
	der, err := r.ca.SignMinion(a.csr, a.id, r.cfg.MinionTTL, at)
	if err != nil {
		return nil, err
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, fmt.Errorf("read the new certificate: %w", err)
	}
	rec.Schema, rec.ID, rec.Key = etcdkv.Schema, a.id, string(a.key)
	rec.Serial, rec.IssuedAt, rec.ExpiresAt = leaf.SerialNumber.Text(16), at, leaf.NotAfter.UTC()
	put, err := v.minion.put(rec)
	if err != nil {
		return nil, err
	}
	d := &decision{certificate: der, ops: []clientv3.Op{put}}
	if v.request.exists() {
		d.ops = append(d.ops, v.request.remove())
	}
	return d, nil
}
