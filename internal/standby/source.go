package standby

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"
	"go.etcd.io/etcd/api/v3/mvccpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
	"google.golang.org/grpc/metadata"

	"github.com/carillon-cron/carillon/internal/backup"
	"github.com/carillon-cron/carillon/internal/etcdkv"
)

const (
	// pageKeys is how many keys are read at a time, callTimeout bounds one request to etcd.
	pageKeys    = 500
	callTimeout = 30 * time.Second
	// progressEvery is how often etcd is asked whether all was told, and progressAgain
	// when it is asked again though it has not answered.
	progressEvery = 200 * time.Millisecond
	progressAgain = time.Second
	// batchOps and batchBytes bound what is written in one transaction.
	batchOps   = 100
	batchBytes = 512 << 10
)

// Source tells a standby what the cluster has in etcd, and what changes.
type Source struct {
	Client *clientv3.Client
	Keys   etcdkv.Keys
	// Version is that of the node.
	Version string
	// Now is the clock by which the standby reckons its lag.
	Now func() time.Time
}

// From says from where a standby goes on.
type From struct {
	Cluster string
	Epoch   int64
	// After is the revision that it has; 0: none.
	After int64
}

// Stream writes frames until ctx ends or w takes no more.
func (s *Source) Stream(ctx context.Context, from From, w io.Writer) error {
	head, err := s.head(ctx, from)
	if err != nil {
		return err
	}
	if err := writeJSON(w, kindHead, &head); err != nil {
		return err
	}
	after := from.After
	if head.Snapshot {
		if err := s.snapshot(ctx, head.Revision, w); err != nil {
			return s.end(w, err)
		}
		after = head.Revision
		if err := writeJSON(w, kindDone, &Point{Revision: after}); err != nil {
			return err
		}
	}
	return s.end(w, s.follow(ctx, after, w))
}

// end says why a stream ends, as far as anybody is there.
func (s *Source) end(w io.Writer, err error) error {
	f := failure{Anew: errors.Is(err, ErrAnew)}
	if err != nil {
		f.Text = err.Error()
	}
	_ = writeJSON(w, kindError, &f) // who does not read has gone
	return err
}

// head says what follows (M6).
func (s *Source) head(ctx context.Context, from From) (Head, error) {
	resp, err := s.get(ctx, s.Keys.Meta())
	if err != nil {
		return Head{}, err
	}
	if len(resp.Kvs) == 0 {
		return Head{}, backup.ErrNoCluster
	}
	meta, err := etcdkv.Decode[etcdkv.Meta](s.Keys.Meta(), resp.Kvs[0].Value)
	if err != nil {
		return Head{}, err
	}
	h := Head{Cluster: meta.ClusterID, Epoch: meta.Epoch, Shards: meta.Shards, Version: s.Version, Revision: resp.Header.Revision, Snapshot: true}
	sealed, err := s.get(ctx, s.Keys.SealState())
	if err != nil {
		return h, err
	}
	if len(sealed.Kvs) == 1 {
		state, err := etcdkv.Decode[etcdkv.SealState](s.Keys.SealState(), sealed.Kvs[0].Value)
		if err != nil {
			return h, err
		}
		h.SealKey = state.Key
	}
	if from.After == 0 || from.Cluster != h.Cluster || from.Epoch != h.Epoch || from.After > h.Revision {
		return h, nil
	}
	// What comes after a revision is there as long as the revision itself is.
	if _, err := s.get(ctx, s.Keys.Meta(), clientv3.WithRev(from.After)); err != nil {
		if errors.Is(err, ErrAnew) {
			return h, nil
		}
		return h, err
	}
	h.Snapshot = false
	return h, nil
}

// snapshot writes all keys of a revision.
func (s *Source) snapshot(ctx context.Context, rev int64, w io.Writer) error {
	var payload []byte
	flush := func() error {
		if len(payload) == 0 {
			return nil
		}
		err := writeFrame(w, kindRecords, payload)
		payload = payload[:0]
		return err
	}
	limit := clientv3.GetPrefixRangeEnd(s.Keys.Root())
	for from := s.Keys.Root(); ; {
		resp, err := s.get(ctx, from, clientv3.WithRange(limit), clientv3.WithLimit(pageKeys), clientv3.WithRev(rev))
		if err != nil {
			return err
		}
		for _, kv := range resp.Kvs {
			if kv.Lease != 0 || s.leftOut(string(kv.Key)) { // M5
				continue
			}
			payload = s.record(kv).Append(payload)
			if len(payload) < frameBytes {
				continue
			}
			if err := flush(); err != nil {
				return err
			}
		}
		if !resp.More {
			return flush()
		}
		from = string(resp.Kvs[len(resp.Kvs)-1].Key) + "\x00"
	}
}

// leftOut reports whether a key is never copied, whatever it lies on. Whom a cluster follows,
// and which nodes keep its data, is its own affair.
func (s *Source) leftOut(key string) bool {
	return key == s.Keys.Mark() || key == s.Keys.Hold() || key == s.Keys.Following() || strings.HasPrefix(key, s.Keys.EtcdNodes())
}

func (s *Source) record(kv *mvccpb.KeyValue) *backup.Record {
	return &backup.Record{Key: string(kv.Key[len(s.Keys.Root()):]), Create: kv.CreateRevision, Mod: kv.ModRevision, Value: kv.Value}
}

// follow writes what changes after a revision.
func (s *Source) follow(ctx context.Context, after int64, w io.Writer) error {
	id, err := uuid.NewRandom()
	if err != nil {
		return err
	}
	// With a name of its own the watch has a connection of its own, and so is told its
	// own progress.
	ctx, cancel := context.WithCancel(metadata.AppendToOutgoingContext(clientv3.WithRequireLeader(ctx), "carillon-mirror", id.String()))
	defer cancel()
	// From the revision that is there already: of a watch that begins later than what etcd
	// has, etcd tells no progress.
	events := s.Client.Watch(ctx, s.Keys.Root(), clientv3.WithPrefix(), clientv3.WithRev(after))
	ticker := time.NewTicker(progressEvery)
	defer ticker.Stop()
	var asked time.Time // when etcd was asked that has not answered yet
	leased := map[string]bool{}
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-ticker.C:
			now := s.Now()
			if !asked.IsZero() && now.Sub(asked) < progressAgain {
				continue
			}
			if err := s.Client.RequestProgress(ctx); err != nil {
				return fmt.Errorf("watch etcd: %w", err)
			}
			asked = now
		case resp, ok := <-events:
			switch err := resp.Err(); {
			case errors.Is(err, rpctypes.ErrCompacted):
				return fmt.Errorf("%w: etcd has compacted what comes after revision %d", ErrAnew, after)
			case err != nil:
				return fmt.Errorf("watch etcd: %w", err)
			case !ok:
				return errors.New("watch etcd: it ended")
			}
			if resp.IsProgressNotify() {
				if asked.IsZero() {
					continue
				}
				if err := writeJSON(w, kindProgress, &Point{resp.Header.Revision, asked.UTC()}); err != nil {
					return err
				}
				asked = time.Time{}
				continue
			}
			known := func(e *clientv3.Event) bool { return e.Kv.ModRevision <= after }
			if err := s.changes(slices.DeleteFunc(resp.Events, known), leased, w); err != nil {
				return err
			}
		}
	}
}

// changes writes events, which are of whole revisions. leased are keys of which was told
// that they lie on leases: for a copy they are not there.
func (s *Source) changes(events []*clientv3.Event, leased map[string]bool, w io.Writer) error {
	var edits []edit
	bytes := 0
	flush := func(rev int64, more bool) error {
		payload, err := appendEdits(Change{Revision: rev, More: more}, edits)
		edits, bytes = edits[:0], 0
		if err != nil {
			return err
		}
		return writeFrame(w, kindChanges, payload)
	}
	begun := 0 // where the edits of the last revision begin
	for i, e := range events {
		rev := e.Kv.ModRevision
		if i > 0 && events[i-1].Kv.ModRevision != rev {
			begun = len(edits)
		}
		if x, ok := s.edit(e, leased); ok {
			// What is whole goes before a transaction has too much.
			if begun > 0 && (len(edits) >= batchOps || bytes+x.size() > batchBytes) {
				later := append([]edit(nil), edits[begun:]...)
				edits = edits[:begun]
				if err := flush(events[i].Kv.ModRevision-1, false); err != nil {
					return err
				}
				begun, edits = 0, append(edits, later...)
				for k := range edits {
					bytes += edits[k].size()
				}
			}
			if len(edits) >= batchOps || len(edits) > 0 && bytes+x.size() > batchBytes {
				if err := flush(rev, true); err != nil { // one revision, in parts
					return err
				}
			}
			edits = append(edits, x)
			bytes += x.size()
		}
	}
	if n := len(events); n > 0 {
		return flush(events[n-1].Kv.ModRevision, false)
	}
	return nil
}

// edit is what an event is for a copy; false: nothing.
func (s *Source) edit(e *clientv3.Event, leased map[string]bool) (edit, bool) {
	key := string(e.Kv.Key)
	switch {
	case s.leftOut(key):
		return edit{}, false
	case e.Type == clientv3.EventTypeDelete && leased[key]:
		delete(leased, key)
		return edit{}, false
	case e.Type != clientv3.EventTypeDelete && e.Kv.Lease != 0 && leased[key]:
		return edit{}, false
	case e.Type != clientv3.EventTypeDelete && e.Kv.Lease != 0:
		leased[key] = true
		fallthrough
	case e.Type == clientv3.EventTypeDelete:
		return edit{backup.Record{Key: key[len(s.Keys.Root()):], Mod: e.Kv.ModRevision}, true}, true
	}
	delete(leased, key)
	return edit{*s.record(e.Kv), false}, true
}

func (s *Source) get(ctx context.Context, key string, opts ...clientv3.OpOption) (*clientv3.GetResponse, error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	resp, err := s.Client.Get(ctx, key, opts...)
	switch {
	case errors.Is(err, rpctypes.ErrCompacted):
		return nil, fmt.Errorf("%w: etcd has compacted the revision that was being read", ErrAnew)
	case err != nil:
		return nil, fmt.Errorf("read etcd: %w", err)
	}
	return resp, nil
}
