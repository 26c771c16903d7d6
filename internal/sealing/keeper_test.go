package sealing

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"github.com/carillon-cron/carillon/internal/etcdkv"
	"github.com/carillon-cron/carillon/internal/testkit/await"
	"github.com/carillon-cron/carillon/job"
)

// same reports whether two texts are the same JSON.
func same(t *testing.T, a, b string) bool {
	t.Helper()
	var x, y any
	if err := errors.Join(json.Unmarshal([]byte(a), &x), json.Unmarshal([]byte(b), &y)); err != nil {
		t.Fatal(err)
	}
	return reflect.DeepEqual(x, y)
}

// all writes all secrets by a Keeper, and looks at what is in etcd and at what is read.
func (e *env) writeAll(k *Keeper) {
	e.t.Helper()
	var ops []clientv3.Op
	for key, value := range e.secrets() {
		ops = append(ops, clientv3.OpPut(key, value))
	}
	done, err := Commit(e.t.Context(), k, e.client, nil, ops, nil)
	if err != nil || !done.Succeeded {
		e.t.Fatalf("not written: %v, %v", done, err)
	}
}

func (e *env) readAll(k *Keeper) {
	e.t.Helper()
	for key, want := range e.secrets() {
		got, err := k.Open(key, []byte(e.get(key)))
		if err != nil || !same(e.t, string(got), want) {
			e.t.Errorf("%s: %s, %v; want %s", key, got, err, want)
		}
	}
}

// A new cluster is sealed from its first value on, and nothing of it is on record as a
// change.
func TestNewClustersAreSealed(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	k, err := e.open("n1")
	if err != nil {
		t.Fatal(err)
	}
	if st, err := os.Stat(e.path("n1")); err != nil || st.Mode().Perm() != 0o600 || k.Key() == "" {
		t.Fatalf("%v, %v; the key is %q", st, err, k.Key())
	}
	e.writeAll(k)
	if loot := e.loot(); len(loot) > 0 {
		t.Errorf("in the clear: %v", loot)
	}
	e.readAll(k)
	n := e.join("n1", k)
	n.must(t)
	if n.snapshot().state.SettledAt.IsZero() || e.get(e.keys.AuthMinion("not-a-secret")) != e.secrets()[e.keys.AuthMinion("not-a-secret")] {
		t.Error("it is not settled, or what is no secret was changed")
	}
	e.readAll(k)
	if got, err := e.client.Get(t.Context(), e.keys.Audit(), clientv3.WithPrefix()); err != nil || len(got.Kvs) > 0 {
		t.Errorf("%d records, %v", len(got.Kvs), err)
	}
	again, err := e.open("n1")
	if err != nil || again.Key() != k.Key() {
		t.Fatalf("opened again: %v, %v", again, err)
	}
	e.readAll(again)
}

// Without a Keeper all is as it was, and so it is in a cluster that is in the clear.
func TestClearClusters(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	e.writeAll(nil)
	e.readAll(nil)
	if len(e.loot()) != 7 {
		t.Errorf("in the clear: %v", e.loot())
	}
	k, err := Open(t.Context(), e.config("n1"), Deps{Client: e.client})
	if err != nil || k.Key() != "" {
		t.Fatalf("%v, %v", k, err)
	}
	e.writeAll(k)
	e.readAll(k)
	if _, err := os.Stat(e.path("n1")); err == nil || len(e.loot()) != 7 {
		t.Errorf("a file was made, or something sealed: %v", err)
	}
	n := e.join("n1", k)
	n.must(t)
	if e.get(e.keys.SealHolder("n1")) != "" || e.get(e.keys.SealState()) != "" {
		t.Error("a node without a key says something")
	}
}

// Invariants 2 and 3: a cluster in the clear is sealed once all live nodes have the key,
// with a record, and then another key takes over in the same way.
func TestI2_I3_KeysTakeOverOnceAllHaveThem(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	first, second := newKey(t), newKey(t)
	e.writeAll(nil)
	old := e.join("old", nil) // of a former release
	e.file("n1", first)
	k1, err := e.open("n1")
	if err != nil {
		t.Fatal(err)
	}
	n1 := e.join("n1", k1)
	n1.must(t)
	if n1.Key() != "" || len(e.loot()) != 7 {
		t.Fatalf("sealed with %q though a node cannot read it", n1.Key())
	}
	e.leave(old)
	e.file("n2", second, first)
	k2, err := e.open("n2")
	if err != nil {
		t.Fatal(err)
	}
	n2 := e.join("n2", k2)
	n2.must(t)
	n1.must(t)
	if n1.Key() != "" {
		t.Fatal("sealed though it is not the first key of all")
	}
	e.file("n2", first)
	n2.must(t)
	n1.must(t)
	n2.must(t)
	if n1.Key() != string(first.ID()) || n2.Key() != n1.Key() || len(e.loot()) > 0 {
		t.Fatalf("the keys are %q and %q; in the clear: %v", n1.Key(), n2.Key(), e.loot())
	}
	e.readAll(n1.Keeper)
	e.readAll(n2.Keeper)

	// Rotation: nothing changes before all have the new key as their first.
	e.file("n1", second, first)
	n1.must(t)
	n2.must(t)
	if n1.Key() != string(first.ID()) {
		t.Fatal("the key took over too early")
	}
	e.file("n2", second, first)
	n2.must(t)
	n1.must(t)
	n2.must(t)
	if n1.Key() != string(second.ID()) || n1.snapshot().state.SettledAt.IsZero() {
		t.Fatalf("the key is %q", n1.Key())
	}
	for key := range e.secrets() {
		if strings.Contains(e.get(key), string(first.ID())) {
			t.Errorf("%s is sealed with the former key", key)
		}
	}
	e.readAll(n2.Keeper)
	// The former key can go; a node that has only that does not start.
	e.file("n1", second)
	n1.must(t)
	e.readAll(n1.Keeper)
	e.file("n3", first)
	if _, err := e.open("n3"); !errors.Is(err, ErrNoKey) {
		t.Errorf("with the former key only: %v", err)
	}
	got, err := e.client.Get(t.Context(), e.keys.Audit(), clientv3.WithPrefix())
	if err != nil || len(got.Kvs) != 2 || !strings.Contains(string(got.Kvs[0].Value), `"seal.key"`) || !strings.Contains(string(got.Kvs[1].Value), "before: "+string(first.ID())) {
		t.Errorf("records: %v, %v", got.Kvs, err)
	}
}

// Invariant 2: a node that comes between the look and the write undoes it.
func TestI2_NodesThatComeMeanwhile(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	e.writeAll(nil)
	key := newKey(t)
	e.file("n1", key)
	k := newKeeper(e.config("n1"), Deps{Client: e.client})
	k.reload()
	v, err := k.look(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	late := e.join("late", nil)
	if lacking, err := k.advance(t.Context(), v); !errors.Is(err, errMeanwhile) || len(lacking) > 0 || k.Key() != "" {
		t.Errorf("%v, %v; the key is %q", lacking, err, k.Key())
	}
	e.leave(late)
	// So does a file that is exchanged.
	if v, err = k.look(t.Context()); err != nil {
		t.Fatal(err)
	}
	e.put(e.keys.SealHolder("n2"), `{"node":"n2","keys":["0123456789abcdef"]}`)
	if _, err := k.advance(t.Context(), v); !errors.Is(err, errMeanwhile) {
		t.Errorf("a file was exchanged: %v", err)
	}
}

// Invariant 1: a write that went by a former state is done again by the present one.
func TestI1_WritesGoByTheState(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	first, second := newKey(t), newKey(t)
	e.file("n1", first, second)
	k1, err := e.open("n1")
	if err != nil {
		t.Fatal(err)
	}
	stale, err := e.open("n1")
	if err != nil {
		t.Fatal(err)
	}
	e.file("n1", second, first)
	n1 := e.join("n1", k1)
	n1.must(t)
	if k1.Key() != string(second.ID()) || stale.Key() != string(first.ID()) {
		t.Fatalf("the keys are %s and %s", k1.Key(), stale.Key())
	}
	key := e.keys.HookSecret(job.UID{1})
	ops, cmps, err := stale.Ops([]clientv3.Op{clientv3.OpPut(key, e.secrets()[key])})
	if err != nil {
		t.Fatal(err)
	}
	if done, err := e.client.Txn(t.Context()).If(cmps...).Then(ops...).Commit(); err != nil || done.Succeeded {
		t.Fatalf("written by the former key: %v, %v", done, err)
	}
	e.writeAll(stale)
	if value := e.get(key); !strings.Contains(value, string(second.ID())) {
		t.Errorf("%s is not sealed by the new key", value)
	}
	// What does not hold stays so.
	never := []clientv3.Cmp{clientv3.Compare(clientv3.CreateRevision(key), "=", 0)}
	done, err := Commit(t.Context(), stale, e.client, never, []clientv3.Op{clientv3.OpPut(key, "{}")}, []clientv3.Op{clientv3.OpGet(key)})
	if err != nil || done.Succeeded || len(done.Responses) != 1 {
		t.Errorf("%v, %v", done, err)
	}
	// A record is sealed once, however often it is put.
	sealed := e.get(key)
	if _, err := Commit(t.Context(), stale, e.client, nil, []clientv3.Op{clientv3.OpPut(key, sealed)}, nil); err != nil || e.get(key) != sealed {
		t.Errorf("%s, %v; want %s", e.get(key), err, sealed)
	}
}

// Invariant 3: a node that ends amid it is followed by another.
func TestI3_SealingGoesOnElsewhere(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	e.writeAll(nil)
	key := newKey(t)
	for _, n := range []string{"n1", "n2"} {
		e.file(n, key)
	}
	k1, err := e.open("n1") // which has the state written, and ends
	if err != nil || k1.Key() != string(key.ID()) || len(e.loot()) != 7 {
		t.Fatalf("%v; in the clear: %v", err, e.loot())
	}
	k2, err := e.open("n2")
	if err != nil {
		t.Fatal(err)
	}
	e.readAll(k2) // while it is not settled
	now := k2.snapshot()
	tickets, _ := e.keys.SecretOf(e.keys.AuthTickets())
	got, err := e.client.Get(t.Context(), e.keys.AuthTickets())
	if err != nil {
		t.Fatal(err)
	}
	e.put(e.keys.AuthTickets(), `{"schema":1,"keys":[{"key":"loot-2"}]}`)
	if did, err := k2.sealAnew(t.Context(), &now, tickets, got.Kvs[0]); did || !errors.Is(err, errMeanwhile) {
		t.Errorf("what was changed meanwhile was written over: %v, %v", did, err)
	}
	e.join("n2", k2).must(t)
	if len(e.loot()) > 0 || k2.snapshot().state.SettledAt.IsZero() {
		t.Errorf("in the clear: %v", e.loot())
	}
}

// Invariant 4: who writes etcd without the key puts nothing in a secret's place.
func TestI4_WhatNoNodeHasWritten(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	k, err := e.open("n1")
	if err != nil {
		t.Fatal(err)
	}
	e.writeAll(k)
	e.join("n1", k).must(t)
	ca := e.keys.AuthCA()
	if _, err := k.Open(ca, []byte(e.secrets()[ca])); err == nil || !strings.Contains(err.Error(), ca+" is in the clear, though the cluster has been sealed since") {
		t.Errorf("in the clear: %v", err)
	}
	one, other := e.keys.HookSecret(job.UID{1}), e.keys.HookSecret(job.UID{2})
	if got, err := k.Open(other, []byte(e.get(one))); err == nil {
		t.Errorf("another job's: %s", got)
	}
	changed := strings.Replace(e.get(one), "sealed:1:", "sealed:2:", 1)
	if got, err := k.Open(one, []byte(changed)); err == nil {
		t.Errorf("of another version: %s", got)
	}
	for _, bad := range []string{"", "{", "[]"} {
		if got, err := k.Open(one, []byte(bad)); err == nil {
			t.Errorf("%q: %s", bad, got)
		}
	}
}

// Invariants 5 and 6: without the key nobody starts, and says what is missing; of two that
// make one the first one's counts.
func TestI5_I6_NodesWithoutTheKey(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	var (
		wg      sync.WaitGroup
		mu      sync.Mutex
		keepers []*Keeper
		errs    []error
	)
	names := []string{"a", "b", "c", "d"}
	for _, name := range names {
		wg.Go(func() {
			k, err := e.open(name)
			mu.Lock()
			defer mu.Unlock()
			if err == nil {
				keepers = append(keepers, k)
			} else {
				errs = append(errs, err)
			}
		})
	}
	wg.Wait()
	if len(keepers) != 1 || len(errs) != 3 {
		t.Fatalf("%d started; the others: %v", len(keepers), errs)
	}
	for _, err := range errs {
		if !errors.Is(err, ErrNoKey) || !strings.Contains(err.Error(), keepers[0].cfg.File+" on node "+string(keepers[0].cfg.Node)) || !strings.Contains(err.Error(), "--seal-key-file") {
			t.Errorf("%v", err)
		}
	}
	if files, err := filepath.Glob(filepath.Join(e.dir, "*")); err != nil || !slices.Equal(files, []string{keepers[0].cfg.File}) {
		t.Errorf("left behind: %v", files)
	}
	// Nothing is made where the cluster is sealed, nor where nodes have a key already.
	if _, err := e.open("late"); !errors.Is(err, ErrNoKey) || !strings.Contains(err.Error(), "(there is none)") {
		t.Errorf("%v", err)
	}
	clear := newEnv(t)
	clear.join("old", nil)
	clear.file("n1", newKey(t))
	k1, err := clear.open("n1")
	if err != nil {
		t.Fatal(err)
	}
	clear.join("n1", k1).must(t)
	if _, err := clear.open("n2"); !errors.Is(err, ErrNoKey) || !strings.Contains(err.Error(), "nodes have one already (n1)") {
		t.Errorf("%v", err)
	}
	if _, err := os.Stat(clear.path("n2")); err == nil {
		t.Error("a key was made beside that of another node")
	}
	// A file that others may read is no key.
	if err := os.Chmod(clear.path("n1"), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := clear.open("n1"); err == nil || !strings.Contains(err.Error(), "other accounts may use it") {
		t.Errorf("%v", err)
	}
}

// Invariant 7: a running node takes a file that is good, and says what is wrong with one
// that is not; a node that is cut off while the key changes says that it lacks it.
func TestI7_FilesAreExchanged(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	first, second := newKey(t), newKey(t)
	e.file("n1", first)
	core, logs := observer.New(zap.ErrorLevel)
	k, err := Open(t.Context(), e.config("n1"), Deps{Client: e.client, Logger: zap.New(core)})
	if err != nil {
		t.Fatal(err)
	}
	n := e.join("n1", k)
	e.writeAll(k)
	n.must(t)
	wrong := func(what, want string, change func()) {
		t.Helper()
		change()
		for range 3 {
			n.must(t)
		}
		entries := logs.TakeAll()
		if len(entries) != 1 || !strings.Contains(entries[0].ContextMap()["error"].(string), want) {
			t.Errorf("%s: %v", what, entries)
		}
		e.readAll(k)
	}
	wrong("it is gone", "no such file", func() { _ = os.Remove(e.path("n1")) })
	wrong("others may read it", "other accounts may use it", func() { e.file("n1", first); _ = os.Chmod(e.path("n1"), 0o640) })
	wrong("it lacks the key", "lacks the key "+string(first.ID()), func() { e.file("n1", second) })
	e.file("n1", first)
	n.must(t)
	if entries := logs.TakeAll(); len(entries) > 0 {
		t.Errorf("what is good again: %v", entries)
	}
	cut, err := Open(t.Context(), e.config("n1"), Deps{Client: e.client, Logger: zap.New(core)})
	if err != nil {
		t.Fatal(err)
	}
	e.file("n1", second, first)
	n.must(t)
	for range 2 {
		if err := cut.Refresh(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if entries := logs.TakeAll(); len(entries) != 1 || !strings.Contains(entries[0].Message, "a key that this node does not have") {
		t.Errorf("%v", entries)
	}
	key := e.keys.HookSecret(job.UID{1})
	if _, _, err := cut.Ops([]clientv3.Op{clientv3.OpPut(key, e.secrets()[key])}); err == nil || !strings.Contains(err.Error(), "copy the seal key file") {
		t.Errorf("written without the key: %v", err)
	}
	if _, err := cut.Open(key, []byte(e.get(key))); err == nil {
		t.Error("opened without the key")
	}
}

// Nodes that run see to all of it by themselves.
func TestRunSealsAndRotates(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	e.writeAll(nil)
	first, second := newKey(t), newKey(t)
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	defer wg.Wait()
	defer cancel()
	var nodes []*node
	old := e.join("old", nil)
	for _, name := range []string{"n1", "n2", "n3"} {
		e.file(name, first)
		k, err := e.open(name)
		if err != nil {
			t.Fatal(err)
		}
		n := e.join(name, k)
		nodes = append(nodes, n)
		wg.Go(func() {
			if err := n.Run(ctx); err != nil {
				t.Error(err)
			}
		})
	}
	by := func(want string) func() bool {
		return func() bool {
			for _, n := range nodes {
				if s := n.snapshot().state; s.Key != want || s.SettledAt.IsZero() {
					return false
				}
			}
			return true
		}
	}
	e.leave(old)
	await.Until(t, "all is sealed", by(string(first.ID())))
	for _, name := range []string{"n3", "n1", "n2"} {
		e.file(name, second, first)
	}
	await.Until(t, "the second key has taken over", by(string(second.ID())))
	for _, n := range nodes {
		e.readAll(n.Keeper)
	}
	if loot := e.loot(); len(loot) > 0 {
		t.Errorf("in the clear: %v", loot)
	}
}

// A key that is lost is replaced together with the authority; what it had sealed goes.
func TestLostKeysAreReplaced(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	if _, _, err := Replace(t.Context(), e.config("n1"), Deps{Client: e.client}); err == nil || !strings.Contains(err.Error(), "is not sealed") {
		t.Errorf("in the clear: %v", err)
	}
	k, err := e.open("n1")
	if err != nil {
		t.Fatal(err)
	}
	e.writeAll(k)
	if _, _, err := Replace(t.Context(), e.config("n1"), Deps{Client: e.client}); err == nil || !strings.Contains(err.Error(), "is not lost: it is in "+e.path("n1")) {
		t.Errorf("it is there: %v", err)
	}
	if err := os.Remove(e.path("n1")); err != nil {
		t.Fatal(err)
	}
	next, also, err := Replace(t.Context(), e.config("n1"), Deps{Client: e.client})
	if err != nil {
		t.Fatal(err)
	}
	ca := e.keys.AuthCA()
	done, err := Commit(t.Context(), next, e.client, nil, append(also, clientv3.OpPut(ca, e.secrets()[ca])), nil)
	if err != nil || !done.Succeeded {
		t.Fatalf("%v, %v", done, err)
	}
	again, err := e.open("n1")
	if err != nil || again.Key() == k.Key() {
		t.Fatal(err)
	}
	if got, err := again.Open(ca, []byte(e.get(ca))); err != nil || !same(t, string(got), e.secrets()[ca]) {
		t.Errorf("%s, %v", got, err)
	}
	if e.get(e.keys.HookSecret(job.UID{1})) != "" || e.get(e.keys.PlanSecret("team", "erp")) != "" || e.get(e.keys.Bootstrap()) != "" {
		t.Error("what nobody can open is still there")
	}
	if s, err := etcdkv.Decode[etcdkv.SealState]("", []byte(e.get(e.keys.SealState()))); err != nil || s.SettledAt.IsZero() {
		t.Errorf("%+v, %v", s, err)
	}
}
