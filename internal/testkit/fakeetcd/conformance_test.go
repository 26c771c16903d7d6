package fakeetcd_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/goleak"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/testing/protocmp"
	"pgregory.net/rapid"

	"github.com/carillon-cron/carillon/internal/testkit/etcdtest"
	"github.com/carillon-cron/carillon/internal/testkit/fakeetcd"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// pair is the fake and a real server, which are given the same requests.
type pair struct {
	fake, real *clientv3.Client
	leases     []int64
	rev        int64
}

func newPair(t *testing.T) *pair {
	srv := fakeetcd.New(fakeetcd.Config{MinTTL: 1, MaxTxnOps: 1024})
	t.Cleanup(srv.Close)
	fake, _ := srv.NewClient(1)
	t.Cleanup(func() { _ = fake.Close() })
	return &pair{fake: fake, real: etcdtest.Start(t).Client(t), rev: 1}
}

// both does the same with both, and compares what comes of it.
func (p *pair) both(t rapid.TB, what string, do func(c *clientv3.Client) (proto.Message, error)) {
	t.Helper()
	got, gotErr := do(p.fake)
	want, wantErr := do(p.real)
	if fmt.Sprint(gotErr) != fmt.Sprint(wantErr) {
		t.Fatalf("%s: the fake says %v, etcd %v", what, gotErr, wantErr)
	}
	if gotErr != nil {
		return
	}
	d := cmp.Diff(want, got, protocmp.Transform(),
		protocmp.IgnoreFields(&pb.ResponseHeader{}, "cluster_id", "member_id", "raft_term"),
		// Inside a transaction etcd fills in no more than the revision.
		protocmp.IgnoreEmptyMessages(), protocmp.IgnoreDefaultScalars())
	if d != "" {
		t.Fatalf("%s: etcd (-) and the fake (+) differ:\n%s", what, d)
	}
}

func (p *pair) do(t rapid.TB, op clientv3.Op) {
	t.Helper()
	p.both(t, "request", func(c *clientv3.Client) (proto.Message, error) {
		r, err := c.Do(context.Background(), op)
		if err != nil {
			return nil, err
		}
		switch {
		case r.Get() != nil:
			p.rev = r.Get().Header.Revision
			return (*pb.RangeResponse)(r.Get()), nil
		case r.Put() != nil:
			p.rev = r.Put().Header.Revision
			return (*pb.PutResponse)(r.Put()), nil
		case r.Del() != nil:
			p.rev = r.Del().Header.Revision
			return (*pb.DeleteRangeResponse)(r.Del()), nil
		}
		p.rev = r.Txn().Header.Revision
		return (*pb.TxnResponse)(r.Txn()), nil
	})
}

// key draws a key of few, so that requests meet; end a range from it on.
func key(t *rapid.T) string {
	return rapid.SampledFrom([]string{"a", "a/1", "a/2", "a/22", "b", "b/1", "c", "\x00", "\xff"}).Draw(t, "key")
}

func drawRange(t *rapid.T, k string) clientv3.OpOption {
	switch rapid.IntRange(0, 4).Draw(t, "range") {
	case 0:
		return clientv3.WithPrefix()
	case 1:
		return clientv3.WithFromKey()
	case 2:
		return clientv3.WithRange(key(t))
	}
	_ = k
	return func(*clientv3.Op) {}
}

func (p *pair) get(t *rapid.T) clientv3.Op {
	k := key(t)
	opts := []clientv3.OpOption{drawRange(t, k)}
	for _, o := range []func() clientv3.OpOption{
		func() clientv3.OpOption { return clientv3.WithLimit(rapid.Int64Range(0, 3).Draw(t, "limit")) },
		func() clientv3.OpOption { return clientv3.WithRev(p.rev - rapid.Int64Range(-1, 12).Draw(t, "back")) },
		func() clientv3.OpOption {
			return clientv3.WithSort(
				rapid.SampledFrom([]clientv3.SortTarget{clientv3.SortByKey, clientv3.SortByVersion, clientv3.SortByCreateRevision, clientv3.SortByModRevision, clientv3.SortByValue}).Draw(t, "by"),
				rapid.SampledFrom([]clientv3.SortOrder{clientv3.SortNone, clientv3.SortAscend, clientv3.SortDescend}).Draw(t, "order"))
		},
		clientv3.WithKeysOnly, clientv3.WithCountOnly, clientv3.WithSerializable,
		func() clientv3.OpOption {
			return clientv3.WithMinModRev(p.rev - rapid.Int64Range(0, 9).Draw(t, "minmod"))
		},
		func() clientv3.OpOption {
			return clientv3.WithMaxModRev(p.rev - rapid.Int64Range(0, 9).Draw(t, "maxmod"))
		},
		func() clientv3.OpOption {
			return clientv3.WithMinCreateRev(p.rev - rapid.Int64Range(0, 9).Draw(t, "mincreate"))
		},
		func() clientv3.OpOption {
			return clientv3.WithMaxCreateRev(p.rev - rapid.Int64Range(0, 9).Draw(t, "maxcreate"))
		},
	} {
		if rapid.IntRange(0, 4).Draw(t, "with") == 0 {
			opts = append(opts, o())
		}
	}
	return clientv3.OpGet(k, opts...)
}

func (p *pair) put(t *rapid.T) clientv3.Op {
	value := rapid.SampledFrom([]string{"", "x", "y", "z"}).Draw(t, "value")
	var opts []clientv3.OpOption
	switch rapid.IntRange(0, 7).Draw(t, "put") {
	case 0, 1, 2:
		if len(p.leases) > 0 {
			opts = append(opts, clientv3.WithLease(clientv3.LeaseID(rapid.SampledFrom(p.leases).Draw(t, "lease"))))
		}
	case 3:
		opts = append(opts, clientv3.WithPrevKV())
	case 4:
		opts = append(opts, clientv3.WithIgnoreLease())
	case 5:
		value = ""
		opts = append(opts, clientv3.WithIgnoreValue())
	}
	return clientv3.OpPut(key(t), value, opts...)
}

func (p *pair) remove(t *rapid.T) clientv3.Op {
	k := key(t)
	opts := []clientv3.OpOption{drawRange(t, k)}
	if rapid.Bool().Draw(t, "prev") {
		opts = append(opts, clientv3.WithPrevKV())
	}
	return clientv3.OpDelete(k, opts...)
}

// removeBounded deletes a key or a prefix inside a transaction. A range without
// an end escapes etcd's check of what is written twice, and a put that builds on
// the key which that has deleted makes the real server panic.
func removeBounded(t *rapid.T) clientv3.Op {
	k := key(t)
	if k != "\xff" && rapid.Bool().Draw(t, "delete prefix") {
		return clientv3.OpDelete(k, clientv3.WithPrefix(), clientv3.WithPrevKV())
	}
	return clientv3.OpDelete(k)
}

func (p *pair) compare(t *rapid.T) clientv3.Cmp {
	k, how := key(t), rapid.SampledFrom([]string{"=", "!=", "<", ">"}).Draw(t, "how")
	rev := p.rev - rapid.Int64Range(0, 6).Draw(t, "than")
	var c clientv3.Cmp
	switch rapid.IntRange(0, 4).Draw(t, "what") {
	case 0:
		c = clientv3.Compare(clientv3.Value(k), how, rapid.SampledFrom([]string{"", "x", "y"}).Draw(t, "cmp value"))
	case 1:
		c = clientv3.Compare(clientv3.CreateRevision(k), how, rapid.SampledFrom([]int64{0, rev}).Draw(t, "cmp rev"))
	case 2:
		c = clientv3.Compare(clientv3.ModRevision(k), how, rapid.SampledFrom([]int64{0, rev}).Draw(t, "cmp rev"))
	case 3:
		c = clientv3.Compare(clientv3.Version(k), how, rapid.Int64Range(0, 3).Draw(t, "cmp version"))
	default:
		c = clientv3.Compare(clientv3.LeaseValue(k), how, rapid.SampledFrom(append([]int64{0}, p.leases...)).Draw(t, "cmp lease"))
	}
	switch rapid.IntRange(0, 3).Draw(t, "over") {
	case 0:
		return c.WithPrefix()
	case 1:
		return c.WithRange(key(t))
	}
	return c
}

func (p *pair) txn(t *rapid.T, depth int) clientv3.Op {
	branch := func() []clientv3.Op {
		var ops []clientv3.Op
		for range rapid.IntRange(0, 3).Draw(t, "ops") {
			switch rapid.IntRange(0, 6).Draw(t, "op") {
			case 0, 1:
				ops = append(ops, p.get(t))
			case 2, 3:
				ops = append(ops, p.put(t))
			case 4, 5:
				ops = append(ops, removeBounded(t))
			default:
				if depth > 0 {
					ops = append(ops, p.txn(t, depth-1))
				}
			}
		}
		return ops
	}
	var cmps []clientv3.Cmp
	for range rapid.IntRange(0, 2).Draw(t, "compares") {
		cmps = append(cmps, p.compare(t))
	}
	return clientv3.OpTxn(cmps, branch(), branch())
}

// TestConformance gives the fake and etcd the same requests: answers,
// revisions, errors and the events of watches are the same.
func TestConformance(t *testing.T) {
	t.Parallel()
	p := newPair(t)
	nextLease := int64(1000)
	rapid.Check(t, func(t *rapid.T) {
		start := p.rev + 1
		t.Repeat(map[string]func(*rapid.T){
			"get":    func(t *rapid.T) { p.do(t, p.get(t)) },
			"put":    func(t *rapid.T) { p.do(t, p.put(t)) },
			"delete": func(t *rapid.T) { p.do(t, p.remove(t)) },
			"txn":    func(t *rapid.T) { p.do(t, p.txn(t, 2)) },
			"grant": func(t *rapid.T) {
				nextLease++
				ttl := rapid.Int64Range(1000, 2000).Draw(t, "ttl")
				if rapid.IntRange(0, 5).Draw(t, "id used") == 0 && len(p.leases) > 0 {
					nextLease = p.leases[len(p.leases)-1]
				}
				p.both(t, "grant", func(c *clientv3.Client) (proto.Message, error) { return grant(c, nextLease, ttl) })
				if len(p.leases) == 0 || p.leases[len(p.leases)-1] != nextLease {
					p.leases = append(p.leases, nextLease)
				}
			},
			"revoke": func(t *rapid.T) {
				if len(p.leases) == 0 {
					return
				}
				// Leases stay in the list: requests may name one that is gone.
				id := clientv3.LeaseID(rapid.SampledFrom(p.leases).Draw(t, "lease"))
				p.both(t, "revoke", func(c *clientv3.Client) (proto.Message, error) {
					r, err := c.Revoke(context.Background(), id)
					if err != nil {
						return nil, err
					}
					p.rev = r.Header.Revision
					return (*pb.LeaseRevokeResponse)(r), nil
				})
			},
			"renew": func(t *rapid.T) {
				if len(p.leases) == 0 {
					return
				}
				id := clientv3.LeaseID(rapid.SampledFrom(p.leases).Draw(t, "lease"))
				p.both(t, "renew", func(c *clientv3.Client) (proto.Message, error) {
					r, err := c.KeepAliveOnce(context.Background(), id)
					if err != nil {
						return nil, err
					}
					return &pb.LeaseKeepAliveResponse{ID: int64(r.ID), TTL: r.TTL}, nil
				})
				p.both(t, "time to live", func(c *clientv3.Client) (proto.Message, error) {
					r, err := c.TimeToLive(context.Background(), id, clientv3.WithAttachedKeys())
					if err != nil {
						return nil, err
					}
					return &pb.LeaseTimeToLiveResponse{ID: int64(r.ID), GrantedTTL: r.GrantedTTL, Keys: sorted(r.Keys)}, nil
				})
			},
			"compact": func(t *rapid.T) {
				if rapid.IntRange(0, 9).Draw(t, "really") != 0 {
					return
				}
				rev := p.rev - rapid.Int64Range(-1, 20).Draw(t, "back")
				p.both(t, "compact", func(c *clientv3.Client) (proto.Message, error) {
					r, err := c.Compact(context.Background(), rev, clientv3.WithCompactPhysical())
					if err != nil {
						return nil, err
					}
					return (*pb.CompactionResponse)(r), nil
				})
			},
		})
		p.watch(t, start)
		p.leases = p.leases[max(0, len(p.leases)-3):]
	})
}

// watch compares the events of what has been done since start.
func (p *pair) watch(t *rapid.T, start int64) {
	k := key(t)
	one := func(*clientv3.Op) {}
	opts := []clientv3.OpOption{
		clientv3.WithRev(start),
		rapid.SampledFrom([]clientv3.OpOption{one, clientv3.WithPrefix(), clientv3.WithFromKey()}).Draw(t, "watch range"),
		rapid.SampledFrom([]clientv3.OpOption{one, clientv3.WithFilterPut(), clientv3.WithFilterDelete()}).Draw(t, "filter"),
		rapid.SampledFrom([]clientv3.OpOption{one, clientv3.WithPrevKV()}).Draw(t, "prev"),
	}
	// What ends the watch is a key in its range, put after all else.
	p.do(t, clientv3.OpDelete(k))
	p.do(t, clientv3.OpPut(k, "end"))
	p.do(t, clientv3.OpDelete(k))
	last := p.rev
	p.both(t, fmt.Sprintf("watch %q from %d to %d", k, start, last), func(c *clientv3.Client) (proto.Message, error) {
		ctx, cancel := context.WithCancel(context.Background())
		defer cancel()
		all := &pb.WatchResponse{}
		for r := range c.Watch(ctx, k, opts...) {
			if r.Err() != nil {
				if errors.Is(r.Err(), rpctypes.ErrCompacted) {
					return &pb.WatchResponse{CompactRevision: r.CompactRevision}, nil
				}
				return nil, r.Err()
			}
			all.Events = append(all.Events, r.Events...)
			if n := len(all.Events); n > 0 && all.Events[n-1].Kv.ModRevision >= last-1 {
				break
			}
			if r.Header.Revision >= last && len(r.Events) == 0 {
				break
			}
		}
		// With deletions filtered out the last put is the end, else the deletion.
		for len(all.Events) > 0 && all.Events[len(all.Events)-1].Kv.ModRevision >= last-1 {
			all.Events = all.Events[:len(all.Events)-1]
		}
		return all, nil
	})
}

func sorted(keys [][]byte) [][]byte {
	for i := range keys {
		for j := i; j > 0 && string(keys[j]) < string(keys[j-1]); j-- {
			keys[j], keys[j-1] = keys[j-1], keys[j]
		}
	}
	return keys
}

// grant grants a lease of a chosen id, which the client library cannot.
func grant(c *clientv3.Client, id, ttl int64) (proto.Message, error) {
	var remote pb.LeaseClient
	if conn := c.ActiveConnection(); conn != nil {
		remote = pb.NewLeaseClient(conn)
	} else {
		remote = fakeetcd.LeaseClient(c)
	}
	r, err := remote.LeaseGrant(context.Background(), &pb.LeaseGrantRequest{ID: id, TTL: ttl})
	if err != nil {
		return nil, rpctypes.Error(err)
	}
	return r, nil
}

// TestTxnLimits: too many operations, also inside, are refused alike.
func TestTxnLimits(t *testing.T) {
	t.Parallel()
	p := newPair(t)
	gets := func(n int) []clientv3.Op {
		var ops []clientv3.Op
		for range n {
			ops = append(ops, clientv3.OpGet("a"))
		}
		return ops
	}
	nested := func(n int) []clientv3.Op { return []clientv3.Op{clientv3.OpTxn(nil, gets(n), nil)} }
	for _, ops := range [][]clientv3.Op{
		gets(1024), gets(1025), nested(1023), nested(1024),
		append(gets(1000), nested(23)...), append(gets(1000), nested(24)...),
	} {
		p.do(t, clientv3.OpTxn(nil, ops, nil))
		p.do(t, clientv3.OpTxn([]clientv3.Cmp{clientv3.Compare(clientv3.Version("a"), ">", 0)}, nil, ops))
	}
}

// TestExpiry: what lies on a lease that has ended is deleted at one revision.
func TestExpiry(t *testing.T) {
	t.Parallel()
	p := newPair(t)
	p.both(t, "grant", func(c *clientv3.Client) (proto.Message, error) { return grant(c, 7, 1) })
	for _, k := range []string{"b", "a", "c"} {
		p.do(t, clientv3.OpPut(k, "x", clientv3.WithLease(7)))
	}
	p.both(t, "events of the end", func(c *clientv3.Client) (proto.Message, error) {
		all := &pb.WatchResponse{}
		ctx, cancel := context.WithCancel(context.Background())
		defer cancel()
		for r := range c.Watch(ctx, "", clientv3.WithPrefix(), clientv3.WithRev(p.rev+1)) {
			all.Events = append(all.Events, r.Events...)
			if len(all.Events) >= 3 {
				break
			}
		}
		return all, nil
	})
	p.both(t, "renew what has ended", func(c *clientv3.Client) (proto.Message, error) {
		_, err := c.KeepAliveOnce(context.Background(), 7)
		return nil, err
	})
}

// TestExpiryTakesVirtualTime: a lease lasts for its time to live and ends at the
// next tick, unless it is renewed.
func TestExpiryTakesVirtualTime(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		srv := fakeetcd.New(fakeetcd.Config{})
		defer srv.Close()
		c, _ := srv.NewClient(1)
		defer func() { _ = c.Close() }()
		l, err := c.Grant(t.Context(), 1)
		if err != nil || l.TTL != 2 {
			t.Fatalf("granted %v, %v; want the floor of 2 s", l, err)
		}
		if _, err := c.Put(t.Context(), "k", "v", clientv3.WithLease(l.ID)); err != nil {
			t.Fatal(err)
		}
		lives := func() bool {
			r, err := c.Get(t.Context(), "k")
			return err == nil && r.Count == 1
		}
		time.Sleep(1900 * time.Millisecond)
		if _, err := c.KeepAliveOnce(t.Context(), l.ID); err != nil {
			t.Fatal(err)
		}
		time.Sleep(1900 * time.Millisecond)
		if !lives() {
			t.Error("the lease ended before its time")
		}
		time.Sleep(time.Second)
		if lives() {
			t.Error("the lease has not ended")
		}
	})
}
