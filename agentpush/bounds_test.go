package agentpush

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/carillon-cron/carillon/agentpush/agentpb"
	"github.com/carillon-cron/carillon/internal/fieldrange"
	"github.com/carillon-cron/carillon/job"
)

// probe is a frame in which one field has a value at the edge of its range.
type probe struct {
	field string
	frame []byte
	legal bool
}

// probes returns frames for each field of a message: with values that are just
// legal, and with such as are not. wrap puts the message into its frame.
func probes(t *testing.T, d protoreflect.MessageDescriptor, path []string, wrap func([]byte) []byte) []probe {
	t.Helper()
	table := frameRanges()
	var out []probe
	for i := range d.Fields().Len() {
		fd := d.Fields().Get(i)
		r := table[string(d.Name())+"."+string(fd.Name())]
		at := append(slices.Clone(path), string(fd.Name()))
		add := func(legal bool, values ...[]byte) {
			var b []byte
			for _, v := range values {
				b = append(b, v...)
			}
			out = append(out, probe{strings.Join(at, "."), wrap(b), legal})
		}
		number := func(v int64) []byte {
			return protowire.AppendVarint(protowire.AppendTag(nil, fd.Number(), protowire.VarintType), uint64(v)) // as encoders do
		}
		text := func(v []byte) []byte {
			return protowire.AppendBytes(protowire.AppendTag(nil, fd.Number(), protowire.BytesType), v)
		}
		switch {
		case fd.IsMap():
			entry := func(k, v string) []byte {
				b := protowire.AppendString(protowire.AppendTag(nil, 1, protowire.BytesType), k)
				return text(protowire.AppendString(protowire.AppendTag(b, 2, protowire.BytesType), v))
			}
			many := make([][]byte, r.Items+1)
			for i := range many {
				many[i] = entry(fmt.Sprintf("k%d", i), "")
			}
			add(true, many[1:]...)
			add(false, many...)
			add(true, entry(strings.Repeat("k", job.MaxNameLen), strings.Repeat("v", r.Value.Bytes)))
			out = append(out,
				probe{strings.Join(at, ".") + ".key", wrap(entry(strings.Repeat("k", r.Key.Bytes+1), "")), false},
				probe{strings.Join(at, ".") + ".key", wrap(entry("\x1b[2J", "")), false},
				probe{strings.Join(at, ".") + ".value", wrap(entry("k", strings.Repeat("v", r.Value.Bytes+1))), false})
		case fd.Kind() == protoreflect.MessageKind:
			most := max(r.Items, 1)
			add(false, slices.Repeat([][]byte{text(nil)}, most+1)...)
			if fd.ContainingOneof() == nil {
				add(true, slices.Repeat([][]byte{text(nil)}, most)...)
			}
			if r.Bytes > 0 {
				// A field that nobody knows fills it.
				fill := func(n int) []byte {
					return protowire.AppendBytes(protowire.AppendTag(nil, 1<<20, protowire.BytesType), make([]byte, n))
				}
				add(false, text(fill(r.Bytes)))
			}
			out = append(out, probes(t, fd.Message(), at, func(b []byte) []byte { return wrap(text(b)) })...)
		case fd.Kind() == protoreflect.StringKind || fd.Kind() == protoreflect.BytesKind:
			short := []byte{}
			switch {
			case r.OneOf != nil:
				short = []byte(r.OneOf[len(r.OneOf)-1])
				add(false, text([]byte("exploded")))
				for _, s := range r.OneOf {
					add(true, text([]byte(s)))
				}
			case r.Check != nil:
				short = slices.Repeat([]byte{'a'}, r.Bytes)
				add(false, text(short[1:]))
				fallthrough
			default:
				add(false, text(slices.Repeat([]byte{'a'}, r.Bytes+1)))
				add(true, text(slices.Repeat([]byte{'a'}, r.Bytes)))
			}
			add(false, slices.Repeat([][]byte{text(short)}, max(r.Items, 1)+1)...)
		case r.Any || fd.Kind() == protoreflect.BoolKind:
			add(true, number(-1))
			add(true, number(math.MaxInt64))
			add(false, number(1), number(1))
		default:
			add(true, number(r.Min))
			add(true, number(r.Max))
			wide := fd.Kind() == protoreflect.Int64Kind
			if wide || r.Min > math.MinInt32 && fd.Kind() == protoreflect.Int32Kind {
				add(false, number(r.Min-1))
			}
			if r.Max < math.MaxInt64 {
				add(false, number(r.Max+1))
			}
			add(false, number(r.Max), number(r.Max))
		}
	}
	return out
}

// TestEveryFieldHasItsRange (I11) walks the frames of minions as the protocol has
// them: each field of each has a range, which is kept to on both sides, and what
// is beyond names the field.
func TestEveryFieldHasItsRange(t *testing.T) {
	t.Parallel()
	frames, err := newFrames()
	if err != nil {
		t.Fatal(err)
	}
	all := probes(t, descriptorOf(&agentpb.FromMinion{}), nil, func(b []byte) []byte { return b })
	if len(all) < 150 {
		t.Fatalf("only %d probes", len(all))
	}
	for _, p := range all {
		err := frames.Check(p.frame)
		if p.legal {
			if err != nil {
				t.Errorf("%s: a legal value is refused: %v", p.field, err)
			}
			continue
		}
		var out *fieldrange.Error
		if !errors.As(err, &out) {
			t.Errorf("%s: a frame of %d bytes is let through: %v", p.field, len(p.frame), err)
			continue
		}
		if out.Field != p.field && !strings.HasPrefix(p.field, out.Field+".") {
			t.Errorf("%s: the error names %s: %v", p.field, out.Field, err)
		}
		if len(err.Error()) > 400 {
			t.Errorf("%s: the error has %d bytes", p.field, len(err.Error()))
		}
	}
}

// TestRangesMissNothing: a field without a range, and a range without a field,
// are found when a hub is made.
func TestRangesMissNothing(t *testing.T) {
	t.Parallel()
	d := descriptorOf(&agentpb.FromMinion{})
	table := frameRanges()
	for name := range table {
		less := frameRanges()
		delete(less, name)
		if _, err := fieldrange.New(d, 1, less); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("without %s: %v", name, err)
		}
	}
	table["Hello.mood"] = fieldrange.Range{Any: true}
	if _, err := fieldrange.New(d, 1, table); err == nil || !strings.Contains(err.Error(), "Hello.mood") {
		t.Errorf("with a range of no field: %v", err)
	}
}

// TestHonestReportsFit: whatever a command does, what is reported of it is within
// the ranges.
func TestHonestReportsFit(t *testing.T) {
	t.Parallel()
	frames, err := newFrames()
	if err != nil {
		t.Fatal(err)
	}
	long := strings.Repeat("ü", 100_000)
	r := job.Report{
		Task: job.TaskID{Minion: "m", Attempt: job.MaxAttempts}, Known: true, State: job.StateFailed, Reason: long + "\xff",
		StartedAt: time.Now(), EndedAt: time.Now(), Exit: &job.Exit{Code: -1, Signal: long, UserCPU: math.MaxInt64, MaxRSS: 1 << 50},
		Stdout: job.Output{Head: long, Tail: long, Bytes: 1 << 50}, Stderr: job.Output{Head: long, Tail: "x" + long},
	}
	for range job.MaxSteps {
		r.Steps = append(r.Steps, job.StepResult{Name: long, State: job.StateSucceeded, ExitCode: 255, Took: job.Duration(job.MaxTimeout)})
	}
	w := agentpb.FromReport(&r)
	if n := proto.Size(w); n > agentpb.MaxReportBytes || n+agentpb.BatchBytes > agentpb.MaxFrame {
		t.Errorf("the largest report has %d bytes", n)
	}
	b, err := proto.Marshal(&agentpb.FromMinion{Body: &agentpb.FromMinion_Reports{Reports: &agentpb.Reports{Reports: []*agentpb.Report{w}}}})
	if err != nil {
		t.Fatal(err)
	}
	if err := frames.Check(b); err != nil {
		t.Error(err)
	}
	if !strings.HasSuffix(w.GetReason(), "...") || !w.GetStdout().GetTruncated() || !w.GetStderr().GetTruncated() {
		t.Errorf("what is cut does not say so: %.40s", w.GetReason())
	}
}

// TestTimesAreSetRight: no task starts before it is due or ends after its report
// has come, whatever the minion's clock says, and what was changed is said.
func TestTimesAreSetRight(t *testing.T) {
	t.Parallel()
	h, err := New(Config{Node: "n"}, Deps{Directory: nowhere{}, Sink: nowhere{}, Registry: &ledger{}})
	if err != nil {
		t.Fatal(err)
	}
	now := time.Date(2026, 11, 29, 12, 0, 0, 0, time.UTC)
	at := func(d time.Duration) int64 { return now.Add(d).UnixNano() }
	for name, c := range map[string]struct {
		due, ahead             time.Duration
		started, ended         int64
		wantStarted, wantEnded int64
		said                   bool
	}{
		"as they should be":      {due: -time.Minute, started: at(-59 * time.Second), ended: at(-time.Second), wantStarted: at(-59 * time.Second), wantEnded: at(-time.Second)},
		"none":                   {due: -time.Minute},
		"a little off":           {due: -time.Minute, ahead: 20 * time.Second, started: at(-40 * time.Second), ended: at(19 * time.Second), wantStarted: at(-60 * time.Second), wantEnded: at(-time.Second), said: true},
		"off by next to nothing": {due: -time.Minute, ahead: 400 * time.Millisecond, started: at(-40 * time.Second), ended: at(-time.Second), wantStarted: at(-40 * time.Second), wantEnded: at(-time.Second)},
		"20 seconds behind":      {due: -10 * time.Second, ahead: -20 * time.Second, started: at(-30 * time.Second), ended: at(-21 * time.Second), wantStarted: at(-10 * time.Second), wantEnded: at(-time.Second), said: true},
		"8 hours ahead":          {due: -time.Minute, ahead: 8 * time.Hour, started: at(8*time.Hour - 59*time.Second), ended: at(8*time.Hour - time.Second), wantStarted: at(-59 * time.Second), wantEnded: at(-time.Second), said: true},
		"a clock at 1970":        {due: -time.Minute, ahead: time.Duration(-now.UnixNano()), started: 1, ended: 2, wantStarted: at(0) + 1, wantEnded: at(0) + 2, said: true},
		"1984, and a lie":        {due: -time.Minute, started: time.Date(1984, 1, 1, 0, 0, 0, 0, time.UTC).UnixNano(), ended: at(0), wantStarted: at(-90 * time.Second), wantEnded: at(0), said: true},
		"2199, and a lie":        {due: -time.Minute, started: at(-time.Second), ended: time.Date(2199, 1, 1, 0, 0, 0, 0, time.UTC).UnixNano(), wantStarted: at(-time.Second), wantEnded: at(30 * time.Second), said: true},
		"ends before it began":   {due: -time.Minute, started: at(-time.Second), ended: at(-2 * time.Second), wantStarted: at(-time.Second), wantEnded: at(-time.Second), said: true},
		"due in the future":      {due: time.Hour, started: at(-time.Second), ended: at(0), wantStarted: at(-time.Second), wantEnded: at(0)},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := &agentpb.Report{Task: &agentpb.TaskID{At: at(c.due)}, StartedAt: c.started, EndedAt: c.ended, Reason: strings.Repeat("x", agentpb.MaxReason)}
			h.services.push.frames.reports.mend(r, int64(c.ahead), now.UnixNano())
			if r.GetStartedAt() != c.wantStarted || r.GetEndedAt() != c.wantEnded {
				t.Errorf("started %v, ended %v", time.Unix(0, r.GetStartedAt()).UTC(), time.Unix(0, r.GetEndedAt()).UTC())
			}
			if said := strings.Contains(r.GetReason(), "set right"); said != c.said || len(r.GetReason()) > agentpb.MaxReason {
				t.Errorf("reason of %d bytes says so: %v", len(r.GetReason()), said)
			}
		})
	}
}

func BenchmarkCheckReports(b *testing.B) {
	frames, err := newFrames()
	if err != nil {
		b.Fatal(err)
	}
	r := agentpb.FromReport(&job.Report{
		Task: job.TaskID{Minion: "m", Attempt: 1}, Known: true, State: job.StateSucceeded, StartedAt: time.Now(), EndedAt: time.Now(),
		Exit: &job.Exit{UserCPU: 1, SystemCPU: 1, MaxRSS: 1}, Stdout: job.Output{Head: "hello\n", Bytes: 6}, Spooled: true,
	})
	data, err := proto.Marshal(&agentpb.FromMinion{Body: &agentpb.FromMinion_Reports{Reports: &agentpb.Reports{Reports: slices.Repeat([]*agentpb.Report{r}, 256)}}})
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		if err := frames.Check(data); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/256, "ns/report")
}
