package sealing

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"go.etcd.io/etcd/api/v3/mvccpb"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"

	"github.com/carillon-cron/carillon/internal/etcdkv"
	"github.com/carillon-cron/carillon/internal/sealkey"
	"github.com/carillon-cron/carillon/job"
)

// Config says where the key is. Node, Keys and File must be given.
type Config struct {
	Node job.NodeID
	Keys etcdkv.Keys
	// File is the file with the keys.
	File string
	// Make makes the file where there is none, if the cluster can have a new key.
	Make bool
	// Every is how often the file is looked at. Default a second.
	Every time.Duration
	// Timeout bounds one request to etcd. Default 5 s.
	Timeout time.Duration
}

// Deps is what a Keeper works with. Client must be given.
type Deps struct {
	Client *clientv3.Client
	// Lease returns the node's lease; false: it has none now. Nil: it never has.
	Lease  func() (clientv3.LeaseID, bool)
	Logger *zap.Logger
	Now    func() time.Time
}

// Keeper seals and opens. Its methods may be called by many goroutines, Run by one. A
// nil Keeper leaves everything as it is.
type Keeper struct {
	cfg  Config
	deps Deps
	log  *zap.Logger

	mu sync.Mutex
	// mu guards what follows.

	ring  sealkey.Ring
	state etcdkv.SealState // its Key is empty while the cluster is in the clear
	rev   int64            // of the state; 0: there is none
	bad   string           // what is wrong with the file as it is; empty: nothing
	told  string           // of which key it was told that it is missing

	// said is what was last said of the keys; Run alone has it.
	said said
}

func newKeeper(cfg Config, deps Deps) *Keeper {
	if cfg.Every == 0 {
		cfg.Every = time.Second
	}
	if cfg.Timeout == 0 {
		cfg.Timeout = 5 * time.Second
	}
	if deps.Now == nil {
		deps.Now = time.Now
	}
	if deps.Logger == nil {
		deps.Logger = zap.NewNop()
	}
	return &Keeper{cfg: cfg, deps: deps, log: deps.Logger.Named("sealing")}
}

// snapshot is what a value is sealed or opened by.
type snapshot struct {
	ring  sealkey.Ring
	state etcdkv.SealState
	rev   int64
}

func (k *Keeper) snapshot() snapshot {
	k.mu.Lock()
	defer k.mu.Unlock()
	return snapshot{k.ring, k.state, k.rev}
}

// Key is the id of the key by which secrets are sealed; empty: they are in the clear.
func (k *Keeper) Key() string {
	if k == nil {
		return ""
	}
	return k.snapshot().state.Key
}

// Ops seals what is secret in the values that are put, and returns with the writes what
// has to hold when they are done; see Commit.
func (k *Keeper) Ops(ops []clientv3.Op) ([]clientv3.Op, []clientv3.Cmp, error) {
	if k == nil {
		return ops, nil, nil
	}
	var (
		out []clientv3.Op
		now snapshot
	)
	for i, op := range ops {
		if !op.IsPut() {
			continue
		}
		key := string(op.KeyBytes())
		s, ok := k.cfg.Keys.SecretOf(key)
		if !ok {
			continue
		}
		if out == nil {
			out, now = slices.Clone(ops), k.snapshot()
		}
		value, err := now.seal(s, key, op.ValueBytes())
		if err != nil {
			return nil, nil, k.explain(err)
		}
		out[i] = clientv3.OpPut(key, string(value))
	}
	if out == nil {
		return ops, nil, nil
	}
	return out, []clientv3.Cmp{now.unchanged(k.cfg.Keys)}, nil
}

// unchanged compares that the state is the one of the snapshot.
func (s *snapshot) unchanged(keys etcdkv.Keys) clientv3.Cmp {
	return clientv3.Compare(clientv3.ModRevision(keys.SealState()), "=", s.rev)
}

// Open opens what is secret in the value of a key of etcd. A value of another key comes
// back as it is.
func (k *Keeper) Open(key string, value []byte) ([]byte, error) {
	if k == nil {
		return value, nil
	}
	s, ok := k.cfg.Keys.SecretOf(key)
	if !ok {
		return value, nil
	}
	now := k.snapshot()
	plain, by, err := now.open(s, key, value)
	switch {
	case err != nil:
		return nil, k.explain(err)
	case by == "" && now.state.Key != "" && !now.state.SettledAt.IsZero() && plain != nil:
		return nil, fmt.Errorf("%s is in the clear, though the cluster has been sealed since %s: no node has written it; remove it, or for the authority's key make a new one (docs/security.md)",
			key, now.state.SettledAt.UTC().Format(time.RFC3339))
	case by == "":
		return value, nil
	}
	return s.With(key, value, plain)
}

// name is what a field is sealed under.
func name(s etcdkv.Secret, key string) string { return key + "#" + s.Field }

// open returns the JSON of a secret, and the key by which it was sealed; empty: it is in
// the clear. Without the field there is nothing.
func (n *snapshot) open(s etcdkv.Secret, key string, record []byte) (plain json.RawMessage, by sealkey.ID, err error) {
	raw, err := s.Get(key, record)
	if err != nil || raw == nil {
		return nil, "", err
	}
	var text string
	if json.Unmarshal(raw, &text) != nil || !sealkey.Begins(text) {
		return raw, "", nil
	}
	by, _ = sealkey.SealedBy(text)
	b, err := n.ring.Open(name(s, key), text)
	return b, by, err
}

// seal returns a record with its secret sealed by the key of the state, whatever it was
// sealed by.
func (n *snapshot) seal(s etcdkv.Secret, key string, record []byte) ([]byte, error) {
	plain, by, err := n.open(s, key, record)
	if err != nil {
		return nil, err
	}
	if plain == nil || string(by) == n.state.Key {
		return record, nil
	}
	if n.state.Key == "" { // the state is gone; what was sealed is in the clear then
		return s.With(key, record, plain)
	}
	text, err := n.ring.Seal(sealkey.ID(n.state.Key), name(s, key), plain)
	if err != nil {
		return nil, err
	}
	value, err := json.Marshal(text)
	if err != nil {
		return nil, fmt.Errorf("seal %s: %w", key, err)
	}
	return s.With(key, record, value)
}

// explain says of a key that is missing which file lacks it.
func (k *Keeper) explain(err error) error {
	var missing *sealkey.NoKeyError
	if !errors.As(err, &missing) {
		return err
	}
	if k.cfg.File == "" {
		return fmt.Errorf("%w: ask a node, or give the seal key file of the nodes", err)
	}
	return fmt.Errorf("%w: copy the seal key file of a node that has it to %s", err, k.cfg.File)
}

// Refresh reads the state.
func (k *Keeper) Refresh(ctx context.Context) error {
	if k == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, k.cfg.Timeout)
	defer cancel()
	key := k.cfg.Keys.SealState()
	got, err := k.deps.Client.Get(ctx, key)
	if err != nil {
		return fmt.Errorf("read %s: %w", key, etcdkv.Unavailable(err))
	}
	if len(got.Kvs) == 0 {
		return k.learn(nil, 0)
	}
	return k.learn(got.Kvs[0].Value, got.Kvs[0].ModRevision)
}

// learn takes the state as it was at a revision; nil: there is none. An older one than
// what is known counts for nothing.
func (k *Keeper) learn(value []byte, rev int64) error {
	var state etcdkv.SealState
	if value != nil {
		var err error
		if state, err = etcdkv.Decode[etcdkv.SealState](k.cfg.Keys.SealState(), value); err != nil {
			return err
		}
		if state.Key == "" {
			return fmt.Errorf("%s names no key", k.cfg.Keys.SealState())
		}
	}
	k.adopt(state, rev)
	return nil
}

// adopt is learn of a state that was read; revision 0: there is none.
func (k *Keeper) adopt(state etcdkv.SealState, rev int64) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if rev != 0 && rev < k.rev {
		return
	}
	k.state, k.rev = state, rev
	if lacks := state.Key != "" && !k.ring.Has(sealkey.ID(state.Key)); lacks && k.told != state.Key && k.cfg.File != "" {
		k.told = state.Key
		k.log.Error("secrets of the cluster are sealed with a key that this node does not have: it makes no join tokens and takes no signed webhooks, and will not start again; "+
			"copy the seal key file of a node that has it", zap.String("file", k.cfg.File), zap.String("key", state.Key), zap.String("sealedBy", string(state.Node)), zap.String("fileThere", state.File))
	}
}

// ids are the ids of keys, as text.
func ids(r sealkey.Ring) []string {
	var out []string
	for _, id := range r.IDs() {
		out = append(out, string(id))
	}
	return out
}

func listed(names []string) string {
	if len(names) == 0 {
		return "no key"
	}
	return strings.Join(names, ", ")
}

// Commit does a transaction whose writes are sealed by k, which may be nil: ops if all of
// cmps hold, else elses. Where another key took over meanwhile, it is done again with that.
func Commit(ctx context.Context, k *Keeper, c *clientv3.Client, cmps []clientv3.Cmp, ops, elses []clientv3.Op) (*clientv3.TxnResponse, error) {
	for {
		sealed, held, err := k.Ops(ops)
		if err != nil {
			return nil, err
		}
		txn := c.Txn(ctx).If(slices.Concat(cmps, held)...).Then(sealed...)
		if len(elses) > 0 {
			txn = txn.Else(elses...)
		}
		done, err := txn.Commit()
		if err != nil || done.Succeeded || len(held) == 0 {
			return done, err
		}
		before := k.snapshot().rev
		if err := k.Refresh(ctx); err != nil {
			return nil, err
		}
		if k.snapshot().rev == before {
			return done, nil
		}
	}
}

// Opened returns pairs of etcd with what is secret in them opened by k, which may be nil.
func Opened(k *Keeper, kvs []*mvccpb.KeyValue) ([]*mvccpb.KeyValue, error) {
	if k == nil {
		return kvs, nil
	}
	out := make([]*mvccpb.KeyValue, len(kvs))
	for i, kv := range kvs {
		value, err := k.Open(string(kv.Key), kv.Value)
		if err != nil {
			return nil, err
		}
		// Of its fields, those that readers of records look at.
		out[i] = &mvccpb.KeyValue{Key: kv.Key, Value: value, CreateRevision: kv.CreateRevision, ModRevision: kv.ModRevision, Version: kv.Version, Lease: kv.Lease}
	}
	return out, nil
}
