package sealing

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"

	"github.com/carillon-cron/carillon/internal/backoff"
	"github.com/carillon-cron/carillon/internal/etcdkv"
	"github.com/carillon-cron/carillon/internal/sealkey"
	"github.com/carillon-cron/carillon/job"
)

// ErrNoKey is returned by Open when the cluster is sealed with a key that is not in the
// file.
var ErrNoKey = errors.New("this node has not the seal key")

// Open reads the file and the state, and seals a cluster that is in the clear where it
// can. While etcd does not answer it tries again, until ctx ends.
func Open(ctx context.Context, cfg Config, deps Deps) (*Keeper, error) {
	k := newKeeper(cfg, deps)
	wait := backoff.Backoff{Least: 100 * time.Millisecond, Most: 2 * time.Second}
	made := false // the file, by us
	for {
		did, err := k.open(ctx)
		made = made || did
		switch {
		case err == nil:
			return k, nil
		case errors.Is(err, errMeanwhile) && wait.Pause(ctx), errors.Is(err, job.ErrUnavailable) && wait.Pause(ctx):
			continue
		case made && errors.Is(err, ErrNoKey):
			// Another node was first, and nothing is sealed with our key.
			if err2 := os.Remove(cfg.File); err2 != nil && !errors.Is(err2, fs.ErrNotExist) {
				return nil, errors.Join(err, err2)
			}
		}
		return nil, err
	}
}

// errMeanwhile is returned when something changed while it was looked at.
var errMeanwhile = errors.New("nodes come and go all the time; try again")

// open does one try, and reports whether it made the file.
func (k *Keeper) open(ctx context.Context) (made bool, err error) {
	ring, err := sealkey.ReadFile(k.cfg.File)
	none := errors.Is(err, fs.ErrNotExist)
	if err != nil && !none {
		return false, err
	}
	v, err := k.look(ctx)
	if err != nil {
		return false, err
	}
	if s := v.state; v.rev != 0 && !ring.Has(sealkey.ID(s.Key)) {
		has := "there is none"
		if !none {
			has = "it has " + listed(ids(ring))
		}
		return false, fmt.Errorf("%w: what the cluster keeps of its own in etcd is sealed with the key %s, and %s does not have it (%s). Copy the file of a node that has it, as %s on node %s, and chmod it to 0600, "+
			"or name it with --seal-key-file; if it is lost on all hosts: docs/security.md, \"A lost seal key\"", ErrNoKey, s.Key, k.cfg.File, has, s.File, s.Node)
	}
	if none && v.rev == 0 && k.cfg.Make {
		if others := v.haveKeys(); len(others) > 0 {
			return false, fmt.Errorf("%w: %s is not there, and no new key is made, as nodes have one already (%s); copy the file of one of them", ErrNoKey, k.cfg.File, strings.Join(others, ", "))
		}
		if ring, made, err = sealkey.Make(k.cfg.File); err != nil {
			return made, fmt.Errorf("%w; give a path that this account can write with --seal-key-file", err)
		}
		if made {
			k.log.Info("a seal key was made: what the cluster keeps of its own in etcd is sealed with it; keep a copy where no backup of etcd is", zap.String("file", k.cfg.File), zap.String("key", string(ring.First())))
		}
	}
	k.mu.Lock()
	k.ring, k.state, k.rev = ring, v.state, v.rev
	k.mu.Unlock()
	switch {
	case v.rev == 0 && len(ring.IDs()) == 0:
		k.log.Warn("what the cluster keeps of its own in etcd, the key of its authority before all, lies there in the clear; to seal it, start each node with --seal-key-file (docs/security.md)")
	case v.rev == 0:
		lacking, err := k.advance(ctx, v)
		if err != nil {
			return made, err
		}
		if len(lacking) > 0 {
			k.log.Warn("the cluster is sealed once the seal key is the first in the file of each live node", zap.String("key", string(ring.First())), zap.Strings("missing", lacking))
		}
	}
	return made, nil
}

// view is what a change of the state is decided from, at one revision.
type view struct {
	at      int64
	state   etcdkv.SealState
	rev     int64 // of the state; 0: there is none
	members []job.NodeID
	holders map[job.NodeID][]string
	// inUse: the cluster has secrets already.
	inUse bool
}

func (k *Keeper) look(ctx context.Context) (*view, error) {
	ctx, cancel := context.WithTimeout(ctx, k.cfg.Timeout)
	defer cancel()
	keys := k.cfg.Keys
	got, err := k.deps.Client.Txn(ctx).Then(
		clientv3.OpGet(keys.SealState()), clientv3.OpGet(keys.Members(), clientv3.WithPrefix(), clientv3.WithKeysOnly()),
		clientv3.OpGet(keys.SealHolders(), clientv3.WithPrefix()), clientv3.OpGet(keys.AuthCA(), clientv3.WithCountOnly()),
	).Commit()
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", keys.SealState(), etcdkv.Unavailable(err))
	}
	v := &view{at: got.Header.Revision, holders: map[job.NodeID][]string{}, inUse: got.Responses[3].GetResponseRange().GetCount() > 0}
	for _, kv := range got.Responses[0].GetResponseRange().GetKvs() {
		if v.state, err = etcdkv.Decode[etcdkv.SealState](keys.SealState(), kv.Value); err != nil {
			return nil, err
		}
		v.rev = kv.ModRevision
	}
	for _, kv := range got.Responses[1].GetResponseRange().GetKvs() {
		v.members = append(v.members, job.NodeID(strings.TrimPrefix(string(kv.Key), keys.Members())))
	}
	for _, kv := range got.Responses[2].GetResponseRange().GetKvs() {
		h, err := etcdkv.Decode[etcdkv.SealHolder](string(kv.Key), kv.Value)
		if err != nil {
			return nil, err
		}
		v.holders[h.Node] = h.Keys
	}
	return v, nil
}

// haveKeys are the live nodes that have a key.
func (v *view) haveKeys() []string {
	var out []string
	for node, keys := range v.holders {
		if len(keys) > 0 {
			out = append(out, string(node))
		}
	}
	slices.Sort(out)
	return out
}

// lacking are the live nodes but self that have not the key as their first.
func (v *view) lacking(self job.NodeID, key sealkey.ID) []string {
	var out []string
	for _, node := range v.members {
		if h := v.holders[node]; node != self && (len(h) == 0 || h[0] != string(key)) {
			out = append(out, string(node))
		}
	}
	return out
}

// advance has the first key of the file seal from now on, if it is that of all live
// nodes; else it returns those of which it is not. The error is errMeanwhile where
// something has changed since it was looked at.
func (k *Keeper) advance(ctx context.Context, v *view) (lacking []string, err error) {
	now := k.snapshot()
	first := now.ring.First()
	if v.state.Key == string(first) { // another node has seen to it
		k.adopt(v.state, v.rev)
		return nil, nil
	}
	if lacking = v.lacking(k.cfg.Node, first); len(lacking) > 0 {
		return lacking, nil
	}
	keys := k.cfg.Keys
	state := etcdkv.SealState{Schema: etcdkv.Schema, Key: string(first), Node: k.cfg.Node, File: k.cfg.File, Since: k.deps.Now().UTC()}
	text, err := etcdkv.Encode(state)
	if err != nil {
		return nil, err
	}
	ops := []clientv3.Op{clientv3.OpPut(keys.SealState(), text)}
	if v.inUse || v.rev != 0 { // a new cluster has nothing that is sealed anew
		was := v.state.Key
		if was == "" {
			was = "none"
		}
		record, err := k.record("seal.key", string(first), "before: "+was)
		if err != nil {
			return nil, err
		}
		ops = append(ops, record)
	}
	ctx, cancel := context.WithTimeout(ctx, k.cfg.Timeout)
	defer cancel()
	untouched := func(prefix string) clientv3.Cmp {
		return clientv3.Compare(clientv3.ModRevision(prefix), "<", v.at+1).WithPrefix()
	}
	done, err := k.deps.Client.Txn(ctx).If(
		clientv3.Compare(clientv3.ModRevision(keys.SealState()), "=", v.rev), untouched(keys.Members()), untouched(keys.SealHolders()),
	).Then(ops...).Commit()
	if err != nil {
		return nil, fmt.Errorf("write %s: %w", keys.SealState(), etcdkv.Unavailable(err))
	}
	if !done.Succeeded {
		return nil, errMeanwhile
	}
	k.log.Info("secrets of the cluster are sealed with the first key of the file from now on", zap.String("key", string(first)), zap.String("before", v.state.Key))
	return nil, k.learn([]byte(text), done.Header.Revision)
}

// record is the audit's record of what was done with keys.
func (k *Keeper) record(action, object, reason string) (clientv3.Op, error) {
	unique, err := uuid.NewRandom()
	if err != nil {
		return clientv3.Op{}, fmt.Errorf("new audit id: %w", err)
	}
	at := k.deps.Now().UTC()
	text, err := etcdkv.Encode(etcdkv.Audit{Schema: etcdkv.Schema, At: at, By: "node " + string(k.cfg.Node), Action: action, Object: object, Reason: reason})
	return clientv3.OpPut(k.cfg.Keys.AuditRecord(at, unique.String()), text), err
}

// Replace is for a cluster whose key is lost: it returns a Keeper that seals with a new
// one, which it makes in the file, and what has to be written together with the new
// authority. Secrets of webhooks go, as nobody can read them.
func Replace(ctx context.Context, cfg Config, deps Deps) (*Keeper, []clientv3.Op, error) {
	k := newKeeper(cfg, deps)
	v, err := k.look(ctx)
	if err != nil {
		return nil, nil, err
	}
	if v.rev == 0 {
		return nil, nil, errors.New("the cluster is not sealed, so that no key of it can be lost")
	}
	ring, _, err := sealkey.Make(cfg.File)
	if err != nil {
		return nil, nil, err
	}
	if ring.Has(sealkey.ID(v.state.Key)) {
		return nil, nil, fmt.Errorf("the key %s is not lost: it is in %s", v.state.Key, cfg.File)
	}
	now := k.deps.Now().UTC()
	state := etcdkv.SealState{Schema: etcdkv.Schema, Key: string(ring.First()), Node: cfg.Node, File: cfg.File, Since: now, SettledAt: now}
	text, err := etcdkv.Encode(state)
	if err != nil {
		return nil, nil, err
	}
	record, err := k.record("seal.lost", string(ring.First()), "before: "+v.state.Key)
	if err != nil {
		return nil, nil, err
	}
	// What is written together with the state is compared with the one before it.
	k.ring, k.state, k.rev = ring, state, v.rev
	return k, []clientv3.Op{
		clientv3.OpPut(cfg.Keys.SealState(), text), clientv3.OpDelete(cfg.Keys.HookSecrets(), clientv3.WithPrefix()), clientv3.OpDelete(cfg.Keys.PlanSecrets(), clientv3.WithPrefix()), clientv3.OpDelete(cfg.Keys.Bootstrap()), record,
	}, nil
}

// OpenOutside is Open for programs that are no nodes, and may have no key: with an empty
// Config.File what is sealed stays closed, and nothing that has to be is written.
func OpenOutside(ctx context.Context, cfg Config, deps Deps) (*Keeper, error) {
	if cfg.File != "" {
		cfg.Make = false
		return Open(ctx, cfg, deps)
	}
	k := newKeeper(cfg, deps)
	return k, k.Refresh(ctx)
}
