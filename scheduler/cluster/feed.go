package cluster

import (
	"context"

	clientv3 "go.etcd.io/etcd/client/v3"
	"golang.org/x/sync/errgroup"

	"github.com/carillon-cron/carillon/internal/etcdkv"
)

// feed follows prefixes of etcd, and wakes who looks at ownership. The parts of a View
// register with it what they follow.
type feed struct {
	client *clientv3.Client
	// sources are the prefixes that are followed.
	sources []source
	changed chan struct{}
}

// source is a prefix that is followed.
type source struct {
	run    func(context.Context) error
	synced <-chan struct{}
}

// follow has a prefix followed by a map.
func follow[T any](f *feed, prefix string, decode func(key string, value []byte) (T, error), changed func()) *etcdkv.Map[T] {
	m := etcdkv.NewMap(decode, changed)
	f.sources = append(f.sources, source{
		run:    func(ctx context.Context) error { return m.Run(ctx, f.client, prefix) },
		synced: m.Synced(),
	})
	return m
}

// Run keeps the view current until ctx ends.
func (f *feed) Run(ctx context.Context) error {
	g, ctx := errgroup.WithContext(ctx)
	for _, s := range f.sources {
		g.Go(func() error { return s.run(ctx) })
	}
	return g.Wait()
}

// Synced reports whether everything has been read.
func (f *feed) Synced() bool {
	for _, s := range f.sources {
		select {
		case <-s.synced:
		default:
			return false
		}
	}
	return true
}

// Changed has something to receive when something has changed that ownership hangs
// on, or Wake was called.
func (f *feed) Changed() <-chan struct{} { return f.changed }

// Wake has ownership looked at. It does not block.
func (f *feed) Wake() {
	select {
	case f.changed <- struct{}{}:
	default:
	}
}
