package chain

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/carillon-cron/carillon/internal/etcdkv"
	"github.com/carillon-cron/carillon/internal/testkit/etcdtest"
)

// TestAnySingleChangeIsTold: whatever one record or segment is changed, removed or put
// in, Verify tells; nothing is told where nothing was, and what is told once is told
// still when the sealer has gone on.
func TestAnySingleChangeIsTold(t *testing.T) {
	t.Parallel()
	one, n := newBed(t), 0
	prefix := etcdtest.Prefix(t)
	rapid.Check(t, func(rt *rapid.T) {
		n++
		b := &bed{t: t, cli: one.cli, keys: etcdkv.NewKeys(fmt.Sprintf("%s/%d", prefix, n))}
		segments := rapid.IntRange(1, 4).Draw(rt, "segments")
		last := noon
		for range segments {
			for range rapid.IntRange(1, 3).Draw(rt, "records") {
				b.write(last.Add(time.Duration(rapid.IntRange(-5, 5).Draw(rt, "skew")) * time.Second))
			}
			b.atOnce(last.Add(10 * time.Second))
			last = last.Add(10 * time.Minute)
		}
		if v := b.verify(); len(v.Problems) > 0 || v.Waiting > 0 {
			rt.Fatalf("nothing was done: %v", v.Problems)
		}
		seq := int64(rapid.IntRange(1, segments).Draw(rt, "segment"))
		names := b.names()
		name := names[rapid.IntRange(0, len(names)-1).Draw(rt, "record")]
		what := rapid.SampledFrom([]string{
			"change", "remove", "insert", "copy", "segment changed", "segment removed", "segment added", "record unnamed",
			"segment written anew", "head changed", "head removed",
		}).Draw(rt, "what")
		goesOn := true
		switch what {
		case "change":
			field := rapid.SampledFrom([]string{"by", "action", "object", "reason", "at"}).Draw(rt, "field")
			b.edit(b.keys.Audit()+name, func(v map[string]any) { v[field] = "2026-01-01T00:00:00Z" })
		case "remove":
			b.remove(b.keys.Audit() + name)
		case "insert":
			before := rapid.IntRange(130, 1000).Draw(rt, "before")
			b.write(last.Add(-10 * time.Minute).Add(10*time.Second - time.Duration(before)*time.Second))
		case "copy":
			b.put(b.keys.Audit()+etcdkv.AuditTime(noon.Add(-time.Hour))+name[strings.Index(name, "-"):], "{}")
		case "segment changed":
			field := rapid.SampledFrom([]string{"seq", "prev", "at", "node", "bytes", "hash", "records"}).Draw(rt, "field")
			b.edit(b.keys.AuditSegment(seq), func(v map[string]any) {
				switch field {
				case "seq":
					v[field] = 12345
				case "bytes": // so much that what is old would have to go
					v[field] = 1 << 40
				case "at": // so old that it would have to go
					v[field] = "2020-01-01T00:00:00Z"
				case "records":
					v[field] = []any{}
				default:
					v[field] = "other"
				}
			})
		case "record unnamed": // and the segment's own hash is right again
			b.edit(b.keys.AuditSegment(seq), func(v map[string]any) {
				seg, err := b.reader().Segment(t.Context(), seq)
				if err != nil {
					rt.Fatal(err)
				}
				seg.Records = seg.Records[1:]
				v["records"], v["hash"] = seg.Records, seg.Sum()
			})
		case "segment written anew": // so old that it would have to go, by a hash that is right
			b.edit(b.keys.AuditSegment(seq), func(v map[string]any) {
				seg, err := b.reader().Segment(t.Context(), seq)
				if err != nil {
					rt.Fatal(err)
				}
				seg.At = time.Date(2020, 1, 1, 0, 0, 0, 0, time.UTC)
				v["at"], v["hash"] = seg.At, seg.Sum()
			})
		case "segment removed":
			b.remove(b.keys.AuditSegment(seq))
		case "segment added":
			seg := etcdkv.AuditSegment{Schema: 1, Seq: int64(segments + 1), Prev: "x", At: last, Node: "n1"}
			seg.Hash = seg.Sum()
			text, err := etcdkv.Encode(seg)
			if err != nil {
				rt.Fatal(err)
			}
			b.put(b.keys.AuditSegment(seg.Seq), text)
			goesOn = false // its number is taken
		case "head changed":
			field := rapid.SampledFrom([]string{"seq", "hash", "first", "prev", "bytes", "at"}).Draw(rt, "field")
			b.edit(b.keys.AuditHead(), func(v map[string]any) {
				switch field {
				case "seq", "first":
					v[field] = 7
				case "bytes":
					v[field] = 1 << 40
				case "at":
					v[field] = "2020-01-01T00:00:00Z"
				default:
					v[field] = "other"
				}
			})
			goesOn = false
		case "head removed":
			b.remove(b.keys.AuditHead())
			goesOn = false
		}
		v := b.verify()
		if len(v.Problems) == 0 {
			rt.Fatalf("%s: nothing is told", what)
		}
		if !goesOn {
			return
		}
		b.write(last)
		b.atOnce(last.Add(10 * time.Second))
		if v := b.verify(); len(v.Problems) == 0 {
			rt.Fatalf("%s: nothing is told any more when the chain has gone on", what)
		}
	})
}

// TestC5_NobodyHasRecordsRemoved: what is written into the head or a segment, of their
// size or their age, has the sealer remove nothing.
func TestC5_NobodyHasRecordsRemoved(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]func(*bed){
		"the head's size": func(b *bed) {
			b.edit(b.keys.AuditHead(), func(v map[string]any) { v["bytes"] = int64(1) << 40 })
		},
		"a segment's size": func(b *bed) {
			b.edit(b.keys.AuditSegment(2), func(v map[string]any) { v["bytes"] = int64(1) << 40 })
		},
		"the first one's age": func(b *bed) {
			b.edit(b.keys.AuditSegment(1), func(v map[string]any) { v["at"] = "2020-01-01T00:00:00Z" })
		},
		"the first one's age and hash": func(b *bed) {
			seg, err := b.reader().Segment(t.Context(), 1)
			if err != nil {
				t.Fatal(err)
			}
			seg.At = time.Date(2020, 1, 1, 0, 0, 0, 0, time.UTC)
			b.edit(b.keys.AuditSegment(1), func(v map[string]any) { v["at"], v["hash"] = seg.At, seg.Sum() })
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := newBed(t)
			for i := range 4 {
				b.write(noon)
				b.atOnce(noon.Add(time.Duration(i) * time.Minute))
			}
			change(b)
			b.write(noon)
			b.atOnce(noon.Add(5 * time.Minute))
			if n := len(b.names()); n != 5 {
				t.Errorf("%d records of 5 are left", n)
			}
		})
	}
}

// TestProblemsAreBounded: a chain of which all is gone does not flood whoever asks.
func TestProblemsAreBounded(t *testing.T) {
	t.Parallel()
	b := newBed(t)
	for range MaxProblems + 50 {
		b.write(noon)
	}
	b.atOnce(noon)
	for _, name := range b.names() {
		b.remove(b.keys.Audit() + name)
	}
	if v := b.verify(); len(v.Problems) != MaxProblems || v.More != 50 || !strings.HasPrefix(v.Problems[0], "record ") {
		t.Error(fmt.Sprint(len(v.Problems), " ", v.More))
	}
}
