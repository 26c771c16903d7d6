package client

import (
	"context"
	"net/http"
	"time"

	"github.com/carillon-cron/carillon/api"
	"github.com/carillon-cron/carillon/job"
)

// Locks are the cluster's locks, for programs that have no connection to etcd. A hold
// belongs to a session, which its holder has to renew.
type Locks struct{ c *conn }

func lockPath(k job.Key, more ...string) []string {
	return append([]string{"namespaces", k.Namespace, "locks", k.Name}, more...)
}

// List returns the locks of a namespace that somebody holds or waits for; of all when
// that is empty.
func (l Locks) List(ctx context.Context, namespace string) ([]api.Lock, error) {
	var out struct{ Locks []api.Lock }
	err := l.c.get(ctx, &out, where("namespace", namespace), "locks")
	return out.Locks, err
}

// Get tells who holds a lock, and who waits.
func (l Locks) Get(ctx context.Context, k job.Key) (api.Lock, error) {
	var out api.Lock
	err := l.c.get(ctx, &out, nil, lockPath(k)...)
	return out, err
}

// Open opens a session. Whoever holds it has ttl from the moment of the call on, and
// as much from each renewal.
func (l Locks) Open(ctx context.Context, holder string, ttl time.Duration) (api.LockSession, error) {
	body := struct {
		Holder string  `json:"holder"`
		TTL    float64 `json:"ttl"`
	}{holder, ttl.Seconds()}
	var out api.LockSession
	err := l.c.send(ctx, http.MethodPost, []string{"v1", "lock-sessions"}, body, &out)
	return out, err
}

// Renew keeps a session alive. With the key of a lock and the caller's place in its
// queue it tells whether that is held still; the zero key asks about none.
func (l Locks) Renew(ctx context.Context, session string, k job.Key, place string) (api.LockRenewal, error) {
	body := struct {
		Session   string `json:"session"`
		Namespace string `json:"namespace,omitempty"`
		Name      string `json:"name,omitempty"`
		Place     string `json:"place,omitempty"`
	}{session, k.Namespace, k.Name, place}
	var out api.LockRenewal
	err := l.c.send(ctx, http.MethodPost, []string{"v1", "lock-sessions", "renew"}, body, &out)
	return out, err
}

// Close ends a session and frees what it holds.
func (l Locks) Close(ctx context.Context, session string) error {
	return l.c.post(ctx, map[string]string{"session": session}, "lock-sessions", "close")
}

// Acquire asks for a lock, and waits for it as long as the request says, at most
// api.MaxLockWait. Ask again with the same place to go on waiting.
func (l Locks) Acquire(ctx context.Context, k job.Key, req api.LockRequest) (api.LockAnswer, error) {
	var out api.LockAnswer
	err := l.c.send(ctx, http.MethodPost, full(lockPath(k, "acquire")), req, &out)
	return out, err
}

// Release frees a lock, or gives the place in its queue up.
func (l Locks) Release(ctx context.Context, k job.Key, req api.LockRequest) error {
	return l.c.post(ctx, req, lockPath(k, "release")...)
}

// Break takes a lock away from the hold with that token.
func (l Locks) Break(ctx context.Context, k job.Key, token job.Token, o api.Order) error {
	body := struct {
		Token string `json:"token"`
		order
	}{token.String(), orderOf(o)}
	return l.c.post(ctx, body, lockPath(k, "break")...)
}
