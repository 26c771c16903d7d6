package agentpush

import (
	"context"
	"encoding/binary"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"

	"github.com/carillon-cron/carillon/agentpush/agentpb"
	"github.com/carillon-cron/carillon/internal/testkit/fuzzed"
	"github.com/carillon-cron/carillon/job"
)

// believer is a node's engine, directory and registry in one: it takes all that
// gets through.
type believer struct {
	nowhere
	t *testing.T
}

func (believer) Owner(s job.ShardID) (job.NodeID, bool) { return "n", s%2 == 0 }

func (b believer) Reports(reports []job.Report) {
	latest := time.Now().Add(time.Minute)
	for _, r := range reports {
		switch {
		case r.Task.Minion != "m":
			b.t.Errorf("a report of %q", r.Task.Minion)
		case r.State != "" && !slices.Contains(job.States(), r.State):
			b.t.Errorf("state %q", r.State)
		case r.StartedAt.After(latest), r.EndedAt.After(latest):
			b.t.Errorf("started %v, ended %v", r.StartedAt, r.EndedAt)
		case !r.EndedAt.IsZero() && r.EndedAt.Before(r.StartedAt):
			b.t.Errorf("ended %v before it started %v", r.EndedAt, r.StartedAt)
		case len(r.Stdout.Head) > job.MaxOutputPart, len(r.Stderr.Tail) > job.MaxOutputPart, len(r.Reason) > agentpb.MaxReason:
			b.t.Errorf("a report is too long")
		}
	}
}

func (believer) Present(context.Context, int, []Present) error { return nil }

func (b believer) Describe(_ context.Context, m job.Minion) error {
	if n := weight(&m); n > agentpb.MaxInventory+8*(agentpb.MaxFacts+agentpb.MaxLabels)+256 {
		b.t.Errorf("a description of %d bytes", n)
	}
	return nil
}

func (believer) Text(context.Context, string) (string, error) { return "echo", nil }

// deaf is a stream that nobody reads.
type deaf struct {
	grpc.ServerStream
	ctx context.Context
}

func (d deaf) Context() context.Context { return d.ctx }

func (d deaf) Send(*agentpb.ToMinion) error {
	<-d.ctx.Done()
	return d.ctx.Err()
}

func (deaf) Recv() (*agentpb.FromMinion, error) { return nil, os.ErrClosed }

// framed puts frames into the form of the fuzz test: each after its length.
func framed(frames ...*agentpb.FromMinion) []byte {
	var out []byte
	for _, f := range frames {
		b, err := proto.Marshal(f)
		if err != nil {
			panic(err)
		}
		out = append(binary.BigEndian.AppendUint32(out, uint32(len(b))), b...)
	}
	return out
}

// FuzzFrames: a minion may send whatever it likes; what gets through is within its
// ranges, nothing panics, and the node holds no more than it may.
func FuzzFrames(f *testing.F) {
	report := agentpb.FromReport(&job.Report{
		Task: job.TaskID{Fire: job.FireID{At: 1, Trigger: job.TriggerSchedule}, Minion: "other", Attempt: 1}, Known: true, State: job.StateFailed, Reason: "exit code 3",
		StartedAt: time.Unix(1, 0), EndedAt: time.Unix(2, 0), Exit: &job.Exit{Code: 3}, Stdout: job.Output{Head: "x", Bytes: 1},
		Steps: []job.StepResult{{Name: "a", State: job.StateSkipped}}, Spooled: true,
	})
	all := []*agentpb.FromMinion{
		{Body: &agentpb.FromMinion_Hello{Hello: &agentpb.Hello{Minion: "m", Instance: "i", Protocol: 1, Session: agentpb.MaxSession - 1}}},
		{Body: &agentpb.FromMinion_Taken{Taken: &agentpb.Taken{Seq: 1}}},
		{Body: &agentpb.FromMinion_Reports{Reports: &agentpb.Reports{Reports: []*agentpb.Report{report, {}, {Task: report.Task}}}}},
		{Body: &agentpb.FromMinion_Output{Output: &agentpb.OutputChunk{Id: 1, Stream: 1, Data: []byte("x")}}},
		{Body: &agentpb.FromMinion_Inventory{Inventory: &agentpb.Inventory{Labels: map[string]string{"role": "web"}, Facts: map[string]string{"os": "linux"}}}},
		{Body: &agentpb.FromMinion_Beat{Beat: &agentpb.Beat{Running: 1, WallClock: 5, ClockSkew: -3, Trouble: []string{"disk full"}}}},
		{Body: &agentpb.FromMinion_Fetch{Fetch: &agentpb.Fetch{Sha256: []string{job.ScriptSum("x")}}}},
	}
	f.Add(framed(all...))
	for _, m := range all {
		f.Add(framed(m))
	}
	f.Add(framed(&agentpb.FromMinion{Body: &agentpb.FromMinion_Output{Output: &agentpb.OutputChunk{Id: 1, Data: []byte(strings.Repeat("x", agentpb.MaxChunk))}}}))
	fuzzed.Run(f, func(t *testing.T, data []byte) {
		b := believer{t: t}
		h, err := New(Config{Node: "n"}, Deps{Directory: b, Sink: b, Registry: b, Texts: b})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() {
			defer close(done)
			_ = h.Run(ctx)
		}()
		defer func() {
			cancel()
			<-done
		}()
		s, err := h.admission.admit(deaf{ctx: ctx}, &agentpb.Hello{Minion: "m", Instance: "i", Protocol: agentpb.Protocol})
		if err != nil {
			t.Fatal(err)
		}
		reader := s.outputs.open(1)
		for len(data) >= 4 {
			n := int(binary.BigEndian.Uint32(data))
			data = data[4:]
			n = min(n, len(data))
			m, err := h.services.push.frames.decode(&arriving{data[:n:n]})
			data = data[n:]
			if err != nil {
				continue // the session would end
			}
			h.services.push.frames.handle(s, m)
		}
		s.texts.mu.Lock() // a wish for texts is answered beside this
		texts := s.texts.held
		s.texts.mu.Unlock()
		if reader.held > readerBytes || texts > textBytes || h.services.push.frames.reports.retries.bytes.all > waitingBytes {
			t.Errorf("held: output %d, texts %d, reports %d", reader.held, texts, h.services.push.frames.reports.retries.bytes.all)
		}
		s.close(errStopping)
		h.services.push.frames.sessions.left(s)
		h.SweepAt(time.Now().Add(time.Hour))
	})
}
