package etcdkv

import (
	"context"
	"maps"
	"sync"
	"sync/atomic"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"
)

// Entry is a decoded key of a Map.
type Entry[T any] struct {
	Value          T
	CreateRevision int64
	ModRevision    int64
	Lease          int64
}

// Map is a prefix kept in memory by Follow. Each batch makes a new map, so it
// is for small prefixes: members, owners, minions. Its methods may be called
// by many goroutines.
type Map[T any] struct {
	decode   func(key string, value []byte) (T, error)
	onChange func()

	reread Reread
	view   atomic.Pointer[mapView[T]]
	once   sync.Once
	synced chan struct{}
}

type mapView[T any] struct {
	entries map[string]Entry[T]
	rev     int64
}

// NewMap returns an empty map. decode reads a value; one that it cannot read is
// logged and left out. onChange, unless nil, is called by Run after each
// change of the entries, the first listing included; it must not block.
func NewMap[T any](decode func(key string, value []byte) (T, error), onChange func()) *Map[T] {
	m := &Map[T]{decode: decode, onChange: onChange, reread: NewReread(), synced: make(chan struct{})}
	m.view.Store(&mapView[T]{})
	return m
}

// Run keeps the map current until ctx ends, and returns ctx's cause. It is
// called by one goroutine at a time.
func (m *Map[T]) Run(ctx context.Context, c *clientv3.Client, prefix string) error {
	log := c.GetLogger()
	return FollowAnew(ctx, c, prefix, m.reread, func(b Batch) error {
		m.apply(b, log)
		return nil
	})
}

// Reread has all be listed again, and watched on another connection. It does not
// block.
func (m *Map[T]) Reread() { m.reread.Ask() }

// Synced is closed when the first listing is in.
func (m *Map[T]) Synced() <-chan struct{} { return m.synced }

// Snapshot returns the entries by key, and the revision at which they are what
// etcd holds. The map must not be changed. Before Synced it is nil, at 0.
func (m *Map[T]) Snapshot() (map[string]Entry[T], int64) {
	v := m.view.Load()
	return v.entries, v.rev
}

func (m *Map[T]) apply(b Batch, log *zap.Logger) {
	now := m.view.Load()
	next := &mapView[T]{entries: now.entries, rev: b.Rev}
	switch {
	case b.Relist:
		next.entries = make(map[string]Entry[T], len(b.Events))
	case len(b.Events) > 0:
		next.entries = maps.Clone(now.entries)
	}
	for _, e := range b.Events {
		delete(next.entries, e.Key)
		if e.Value == nil {
			continue
		}
		v, err := m.decode(e.Key, e.Value)
		if err != nil {
			log.Warn("value left out", zap.String("key", e.Key), zap.Int64("rev", e.ModRevision), zap.Error(err))
			continue
		}
		next.entries[e.Key] = Entry[T]{Value: v, CreateRevision: e.CreateRevision, ModRevision: e.ModRevision, Lease: e.Lease}
	}
	m.view.Store(next)
	m.once.Do(func() { close(m.synced) })
	if m.onChange != nil && (b.Relist || len(b.Events) > 0) {
		m.onChange()
	}
}
