package registrar

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/google/uuid"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/carillon-cron/carillon/internal/auth"
	"github.com/carillon-cron/carillon/internal/etcdkv"
	"github.com/carillon-cron/carillon/job"
)

// LiveError is returned when nodes are live that must not be.
type LiveError struct {
	Nodes []string
}

func (e *LiveError) Error() string {
	return "live: " + strings.Join(e.Nodes, ", ") + "; stop all nodes first, as each has the former authority until it is started again"
}

// RenewAuthority puts a new authority in place of the cluster's, and removes what is of
// the former one: session tickets and join tokens. Minions stay enrolled, so that each
// joins by its key once it has the new authority's certificate. The error is a
// *LiveError while nodes are live, and job.ErrNotFound where there is no authority: it is
// made when the first node starts. By is who asks for it, for the audit; also is done in the
// same transaction.
func RenewAuthority(ctx context.Context, cfg Config, deps Deps, by string, also ...clientv3.Op) (*auth.Authority, error) {
	cfg, err := cfg.filled()
	if deps.Client == nil {
		err = errors.Join(err, errors.New("registrar: Client must be given"))
	}
	if err != nil {
		return nil, err
	}
	r := &Registrar{cfg: cfg, client: deps.Client, seal: deps.Seal, keys: cfg.Keys, now: deps.Now}
	if r.now == nil {
		r.now = time.Now
	}
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	key := r.keys.AuthCA()
	got, err := r.client.Get(ctx, key)
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", key, etcdkv.Unavailable(err))
	}
	// Not decoded: a damaged one is replaced as well.
	if len(got.Kvs) == 0 {
		return nil, fmt.Errorf("the cluster's authority: %w; it is made when the first node starts", job.ErrNotFound)
	}
	if old, err := parseAuthority(r.seal, key, got.Kvs[0].Value); err == nil && cfg.Cluster == defaultCluster {
		r.cfg.Cluster = strings.TrimPrefix(old.Certificate().Subject.CommonName, "carillon ")
	}
	fresh, text, err := r.newAuthority()
	if err != nil {
		return nil, err
	}
	record, err := r.renewed(fresh, by)
	if err != nil {
		return nil, err
	}
	members := r.keys.Members()
	done, err := r.txn(ctx, []clientv3.Cmp{
		clientv3.Compare(clientv3.CreateRevision(members), "=", 0).WithPrefix(),
		clientv3.Compare(clientv3.ModRevision(key), "=", got.Kvs[0].ModRevision),
	}, append([]clientv3.Op{
		clientv3.OpPut(key, text), clientv3.OpDelete(r.keys.AuthTickets()), clientv3.OpDelete(r.keys.AuthTokens(), clientv3.WithPrefix()), record,
	}, also...), clientv3.OpGet(members, clientv3.WithPrefix(), clientv3.WithKeysOnly()))
	if err != nil {
		return nil, fmt.Errorf("write %s: %w", key, etcdkv.Unavailable(err))
	}
	if done.Succeeded {
		return fresh, nil
	}
	live := &LiveError{}
	for _, kv := range done.Responses[0].GetResponseRange().Kvs {
		live.Nodes = append(live.Nodes, strings.TrimPrefix(string(kv.Key), members))
	}
	if len(live.Nodes) == 0 {
		return nil, fmt.Errorf("%s was changed meanwhile: %w", key, job.ErrConflict)
	}
	return nil, live
}

// newAuthority makes an authority, and what is stored of it.
func (r *Registrar) newAuthority() (*auth.Authority, string, error) {
	a, err := auth.NewAuthority(r.cfg.Cluster, r.now())
	if err != nil {
		return nil, "", err
	}
	secret, err := a.KeyPEM()
	if err != nil {
		return nil, "", err
	}
	text, err := etcdkv.Encode(etcdkv.Authority{
		Schema: etcdkv.Schema, Certificate: string(a.CertificatePEM()), Key: string(secret), CreatedAt: r.now().UTC(),
	})
	return a, text, err
}

// renewed is the audit's record of a new authority.
func (r *Registrar) renewed(a *auth.Authority, by string) (clientv3.Op, error) {
	unique, err := uuid.NewRandom()
	if err != nil {
		return clientv3.Op{}, fmt.Errorf("new audit id: %w", err)
	}
	at := r.now().UTC()
	text, err := etcdkv.Encode(etcdkv.Audit{
		Schema: etcdkv.Schema, At: at, By: by, Action: "authority.renew", Object: auth.CAHash(a.Certificate()),
	})
	return clientv3.OpPut(r.keys.AuditRecord(at, unique.String()), text), err
}
