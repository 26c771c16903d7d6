package etcdkv

import (
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/carillon-cron/carillon/internal/testkit/fuzzed"
	"github.com/carillon-cron/carillon/job"
)

func TestSegmentRoundTrip(t *testing.T) {
	t.Parallel()
	c, err := NewSegmentCodec()
	if err != nil {
		t.Fatal(err)
	}
	text := rapid.StringN(0, 40, -1)
	rapid.Check(t, func(rt *rapid.T) {
		in := make([]SegmentRecord, rapid.IntRange(0, 20).Draw(rt, "records"))
		for i := range in {
			in[i] = SegmentRecord{
				At: rapid.Int64().Draw(rt, "at"), Rev: rapid.Int64Range(0, 1<<62).Draw(rt, "rev"),
				ID: job.RunID(text.Draw(rt, "id")), State: job.State(text.Draw(rt, "state")), Run: text.Draw(rt, "run"),
				Key: job.Key{Namespace: text.Draw(rt, "namespace"), Name: text.Draw(rt, "name")},
			}
			copy(in[i].Job[:], rapid.SliceOfN(rapid.Byte(), 16, 16).Draw(rt, "uid"))
		}
		b := c.Encode(in)
		out, err := c.Decode(b)
		if err != nil {
			rt.Fatalf("decode: %v", err)
		}
		if d := cmp.Diff(in, out); d != "" {
			rt.Fatalf("round trip (-in +out):\n%s", d)
		}
		if _, err := c.Decode(b[:rapid.IntRange(0, len(b)-1).Draw(rt, "cut")]); err == nil && len(in) > 0 {
			rt.Fatal("a segment that is cut short was read without an error")
		}
	})
}

func FuzzDecodeSegment(f *testing.F) {
	c, err := NewSegmentCodec()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(c.Encode([]SegmentRecord{{At: 1, ID: "a", Run: "{}"}}))
	fuzzed.Run(f, func(t *testing.T, b []byte) {
		// What is fuzzed is the inside; the frame is zstd's.
		for _, in := range [][]byte{b, c.enc.EncodeAll(b, []byte{segmentVersion})} {
			if records, err := c.Decode(in); err == nil && records == nil {
				t.Fatal("no records and no error")
			}
		}
	})
}

func TestSegmentNames(t *testing.T) {
	t.Parallel()
	keys := NewKeys("/test")
	rapid.Check(t, func(rt *rapid.T) {
		draw := func() SegmentName {
			return SegmentName{
				Newest: rapid.Int64().Draw(rt, "newest"), Oldest: rapid.Int64().Draw(rt, "oldest"),
				Generation: rapid.IntRange(0, 15).Draw(rt, "generation"), Bytes: rapid.IntRange(0, 1<<30).Draw(rt, "bytes"),
				Unique: rapid.StringMatching(`[0-9a-z][0-9a-z-]{0,20}`).Draw(rt, "unique"),
			}
		}
		a, b := draw(), draw()
		bucket := rapid.IntRange(0, 0xffff).Draw(rt, "bucket")
		gotBucket, got, err := keys.ParseRunSegment(keys.RunSegment(bucket, a.String()))
		if err != nil || got != a || gotBucket != bucket {
			rt.Fatalf("parsed %+v of bucket %d, %v; want %+v of %d", got, gotBucket, err, a, bucket)
		}
		if a.Newest != b.Newest && (a.Newest < b.Newest) != (a.String() < b.String()) {
			rt.Fatalf("%s and %s do not sort by instant", a, b)
		}
	})
	for _, bad := range []string{"", "0000/", "0000/abc", "0000/0-0-0-0", strings.Repeat("z", 80)} {
		if _, _, err := keys.ParseRunSegment(keys.Runs() + bad); err == nil {
			t.Errorf("%q was read without an error", bad)
		}
	}
	if _, _, err := keys.ParseRunSegment("/elsewhere"); err == nil {
		t.Error("a key of something else was read without an error")
	}
}

func TestSegmentRecordOrder(t *testing.T) {
	t.Parallel()
	records := []SegmentRecord{{At: 1, ID: "b"}, {At: 2, ID: "z"}, {At: 1, ID: "a"}}
	slices.SortFunc(records, func(a, b SegmentRecord) int { return a.Compare(&b) })
	want := []SegmentRecord{{At: 2, ID: "z"}, {At: 1, ID: "a"}, {At: 1, ID: "b"}}
	if d := cmp.Diff(want, records); d != "" {
		t.Errorf("order (-want +got):\n%s", d)
	}
}
