package etcdkv

import (
	"cmp"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/klauspost/compress/zstd"

	"github.com/carillon-cron/carillon/job"
)

// SegmentRecord is one run record in a segment. What lists need lies beside the
// record's JSON, so that a record is decoded only when it is shown. The JSON is
// passed on as it was written: a field of a newer release survives every merge.
type SegmentRecord struct {
	// At is the scheduled instant, in nanoseconds since the Unix epoch.
	At    int64
	ID    job.RunID
	Job   job.UID
	Key   job.Key
	State job.State
	// Rev is the revision at which the record was written; 0 means that of
	// its segment. Of two records with one ID the higher Rev is the newer.
	Rev int64
	// Run is the JSON of the job.Run.
	Run string
}

// NewSegmentRecord makes the record of a run.
func NewSegmentRecord(r *job.Run) (SegmentRecord, error) {
	b, err := r.MarshalJSON()
	if err != nil {
		return SegmentRecord{}, fmt.Errorf("encode run %s: %w", r.RunID, err)
	}
	return SegmentRecord{
		At: r.FireID.At, ID: r.RunID, Job: r.FireID.Job, Key: r.Key(), State: r.State, Run: string(b),
	}, nil
}

// Decode returns the run.
func (r *SegmentRecord) Decode() (job.Run, error) {
	var run job.Run
	if err := json.Unmarshal([]byte(r.Run), &run); err != nil {
		return job.Run{}, fmt.Errorf("decode run %s: %w", r.ID, err)
	}
	return run, nil
}

// Compare orders records newest first, and those of one instant by rising ID.
func (r *SegmentRecord) Compare(o *SegmentRecord) int {
	return cmp.Or(cmp.Compare(o.At, r.At), cmp.Compare(r.ID, o.ID))
}

// Size is about how many bytes the record takes before compression.
func (r *SegmentRecord) Size() int {
	return 48 + len(r.ID) + len(r.Key.Namespace) + len(r.Key.Name) + len(r.Run)
}

const (
	segmentVersion = 1
	// segmentMaxMemory bounds what a damaged segment can make a reader allocate.
	segmentMaxMemory = 256 << 20
)

// errSegment is wrapped by every error about a segment's bytes or name.
var errSegment = errors.New("malformed segment")

// SegmentCodec packs and unpacks segments. It may be used by many goroutines.
type SegmentCodec struct {
	enc *zstd.Encoder
	dec *zstd.Decoder
}

// NewSegmentCodec returns a codec.
func NewSegmentCodec() (*SegmentCodec, error) {
	enc, err := zstd.NewWriter(nil, zstd.WithEncoderLevel(zstd.SpeedDefault), zstd.WithWindowSize(1<<20))
	if err != nil {
		return nil, fmt.Errorf("segment encoder: %w", err)
	}
	dec, err := zstd.NewReader(nil, zstd.WithDecoderMaxMemory(segmentMaxMemory), zstd.WithDecoderConcurrency(0))
	if err != nil {
		return nil, fmt.Errorf("segment decoder: %w", err)
	}
	return &SegmentCodec{enc: enc, dec: dec}, nil
}

// Encode packs records in the given order: one byte of version, then a zstd
// frame.
func (c *SegmentCodec) Encode(records []SegmentRecord) []byte {
	size := 16
	for i := range records {
		size += records[i].Size()
	}
	b := binary.AppendUvarint(make([]byte, 0, size), uint64(len(records)))
	prev := int64(0)
	for i := range records {
		r := &records[i]
		b = append(b, r.Job[:]...)
		b = binary.AppendVarint(b, r.At-prev)
		prev = r.At
		b = binary.AppendUvarint(b, uint64(r.Rev)) // revisions are positive
		b = appendString(b, string(r.ID))
		b = appendString(b, r.Key.Namespace)
		b = appendString(b, r.Key.Name)
		b = appendString(b, string(r.State))
		b = appendString(b, r.Run)
	}
	return c.enc.EncodeAll(b, []byte{segmentVersion})
}

// segmentRecordMin is the size of the shortest record.
const segmentRecordMin = 23

// Decode reads what Encode wrote. The records share one piece of memory.
func (c *SegmentCodec) Decode(b []byte) ([]SegmentRecord, error) {
	if len(b) == 0 || b[0] != segmentVersion {
		return nil, fmt.Errorf("%w: its version is not %d", errSegment, segmentVersion)
	}
	raw, err := c.dec.DecodeAll(b[1:], nil)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errSegment, err)
	}
	all := string(raw)
	d := slotReader{b: raw}
	text := func() string {
		n := d.count(1)
		from := len(all) - len(d.b)
		if d.take(n); d.bad {
			return ""
		}
		return all[from : from+n]
	}
	n := d.count(segmentRecordMin)
	records := make([]SegmentRecord, n)
	prev := int64(0)
	for i := range records {
		r := &records[i]
		copy(r.Job[:], d.take(len(r.Job)))
		r.At = prev + d.varint()
		prev = r.At
		r.Rev = int64(d.uvarint()) // written from an int64
		r.ID = job.RunID(text())
		r.Key = job.Key{Namespace: text(), Name: text()}
		r.State = job.State(text())
		r.Run = text()
		if d.bad {
			break
		}
	}
	if d.bad {
		return nil, fmt.Errorf("%w: cut short or damaged (%d bytes)", errSegment, len(b))
	}
	return records, nil
}

// SegmentName is the last part of a segment's key. It tells all that is needed
// to decide which segments to read or to merge, so a listing of keys is enough.
// Names sort by their newest instant.
type SegmentName struct {
	// Newest and Oldest are the bounds of the records' instants, in
	// nanoseconds since the Unix epoch.
	Newest, Oldest int64
	// Generation counts the merges that the records went through.
	Generation int
	// Bytes is the length of the value.
	Bytes int
	// Unique tells segments apart; it must not hold a slash.
	Unique string
}

// signBit turned over makes signed numbers sort as their hexadecimal text.
const signBit = 1 << 63

func (n SegmentName) String() string {
	return fmt.Sprintf("%016x-%016x-%x-%x-%s",
		uint64(n.Newest)^signBit, uint64(n.Oldest)^signBit, n.Generation, n.Bytes, n.Unique)
}

// ParseRunSegment reads a segment's key.
func (k Keys) ParseRunSegment(s string) (bucket int, name SegmentName, err error) {
	rest, ok := strings.CutPrefix(s, k.Runs())
	var newest, oldest uint64
	if ok {
		_, err = fmt.Sscanf(rest, "%04x/%016x-%016x-%x-%x-%s", &bucket, &newest, &oldest, &name.Generation, &name.Bytes, &name.Unique)
	}
	if !ok || err != nil {
		return 0, SegmentName{}, fmt.Errorf("etcd key %q is not a segment's: %w", s, errSegment)
	}
	name.Newest, name.Oldest = int64(newest^signBit), int64(oldest^signBit)
	return bucket, name, nil
}
