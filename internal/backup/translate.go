package backup

import (
	"fmt"
	"slices"
	"strings"

	"github.com/carillon-cron/carillon/internal/etcdkv"
	"github.com/carillon-cron/carillon/job"
)

// translation makes what is stored of a former etcd's revisions true of another one (B8).
type translation struct {
	keys  etcdkv.Keys
	head  Header
	epoch int64
	// replaces are the clusters whose nodes become this one's.
	replaces []string
	// skip reports keys that are not put; nil: all are.
	skip func(key string) bool
	// known is, by shard, up to which revision its jobs were known to the last commit.
	known map[job.ShardID]int64
	// now is the revision at which all known jobs had been put; 0: not yet.
	now   int64
	codec *etcdkv.SegmentCodec
}

func newTranslation(keys etcdkv.Keys, head Header, epoch int64) (*translation, error) {
	codec, err := etcdkv.NewSegmentCodec()
	if err != nil {
		return nil, err
	}
	return &translation{keys: keys, head: head, epoch: epoch, known: map[job.ShardID]int64{}, codec: codec}, nil
}

// turn says when a key is put.
type turn uint8

const (
	turnFirst turn = iota
	turnLater      // after the jobs that were known: states, and jobs that were not
	turnLast       // the cluster's description
	turnNever
)

// learn notes what is known of shards. It is called with each record first.
func (t *translation) learn(r *Record) error {
	id, rest, err := t.keys.ParseShardKey(t.keys.Root() + r.Key)
	if err != nil || rest != "state" {
		return nil //nolint:nilerr // it is another key
	}
	st, err := etcdkv.Decode[etcdkv.ShardState](r.Key, r.Value)
	if err != nil {
		return err
	}
	t.known[id] = st.JobsRev
	return nil
}

// turn tells when a record is put.
func (t *translation) turn(r *Record) turn {
	key := t.keys.Root() + r.Key
	switch {
	case key == t.keys.Meta():
		return turnLast
	case strings.HasPrefix(r.Key, "watched/"):
		return turnNever // it tells of a revision of keys that are not in the backup
	case t.skip != nil && t.skip(key):
		return turnNever
	}
	if id, _, err := t.keys.ParseJob(key); err == nil && r.Create > t.known[id] {
		return turnLater
	}
	if _, rest, err := t.keys.ParseShardKey(key); err == nil && (rest == "state" || strings.HasPrefix(rest, "deleted/")) {
		return turnLater
	}
	return turnFirst
}

// put returns the key and the value to put for a record.
func (t *translation) put(r *Record) (key, value string, err error) {
	key, value = t.keys.Root()+r.Key, string(r.Value)
	if key == t.keys.Meta() {
		meta, err := etcdkv.Decode[etcdkv.Meta](key, r.Value)
		if err != nil {
			return "", "", err
		}
		meta.Epoch = t.epoch
		for _, id := range t.replaces {
			if id != meta.ClusterID && !slices.Contains(meta.Replaces, id) {
				meta.Replaces = append(meta.Replaces, id)
			}
		}
		value, err = etcdkv.MergeUnknown(r.Value, &meta)
		return key, value, err
	}
	if strings.HasPrefix(key, t.keys.Runs()) {
		return t.segment(key, r)
	}
	id, rest, err := t.keys.ParseShardKey(key)
	switch {
	case err != nil:
		return key, value, nil //nolint:nilerr // it is another key
	case rest == "state":
		st, err := etcdkv.Decode[etcdkv.ShardState](key, r.Value)
		if err != nil {
			return "", "", err
		}
		st.JobsRev, st.Unsent, st.MutexLease = t.now, 0, 0
		value, err = etcdkv.MergeUnknown(r.Value, &st)
		return key, value, err
	case strings.HasPrefix(rest, "deleted/"):
		d, err := etcdkv.Decode[etcdkv.DeletedJob](key, r.Value)
		if err != nil {
			return "", "", err
		}
		was := d.Created
		if d.Created = 1; was > t.known[id] {
			d.Created = t.now + 1
		}
		value, err = etcdkv.MergeUnknown(r.Value, &d)
		return key, value, err
	}
	return key, value, nil
}

// segment returns a segment of run records whose revisions are below all that come: they
// are counted back from the backup's.
func (t *translation) segment(key string, r *Record) (string, string, error) {
	bucket, name, err := t.keys.ParseRunSegment(key)
	if err != nil {
		return key, string(r.Value), nil //nolint:nilerr // a key that is no segment stays as it is
	}
	records, err := t.codec.Decode(r.Value)
	if err != nil {
		return "", "", fmt.Errorf("segment %s: %w", key, err)
	}
	for i := range records {
		rev := records[i].Rev
		if rev == 0 {
			rev = r.Mod
		}
		if rev > 0 {
			rev -= t.head.Revision + 1
		}
		records[i].Rev = rev
	}
	value := t.codec.Encode(records)
	name.Bytes = len(value)
	return t.keys.RunSegment(bucket, name.String()), string(value), nil
}
