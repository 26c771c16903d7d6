package worker

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"pgregory.net/rapid"

	"github.com/carillon-cron/carillon/agentpush/agentpb"
	"github.com/carillon-cron/carillon/job"
	"github.com/carillon-cron/carillon/worker/shim"
)

// read asks for a task's output and returns the request's number.
func (n *node) read(o *job.Order, follow bool) uint64 {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.seq++
	_ = n.stream.Send(&agentpb.ToMinion{Body: &agentpb.ToMinion_Output{Output: &agentpb.OutputRequest{
		Id: n.seq, Task: agentpb.FromTask(o.Task), Follow: follow,
	}}})
	return n.seq
}

// text returns what has arrived for a request. The caller holds mu.
func (n *node) text(id uint64) (out [3]string, dropped int64, eof bool, problem string) {
	for _, c := range n.chunks[id] {
		if len(c.GetData()) > 4<<10 {
			n.t.Errorf("chunk of %d bytes", len(c.GetData()))
		}
		out[c.GetStream()] += string(c.GetData())
		dropped += c.GetDropped()
		eof = eof || c.GetEof()
		problem += c.GetError()
	}
	return out, dropped, eof, problem
}

func TestOutputCap(t *testing.T) {
	t.Parallel()
	n, dir := newNode(t), dataDir(t)
	start(t, n, dir, func(c *Config) { c.OutputCap = 100_000 })
	o := newOrder("/bin/sh", "-c", `i=0; while [ $i -lt 40000 ]; do echo 123456789; i=$((i+1)); done; printf LAST`)
	n.order(o)
	r := n.final(o)
	if r.Stdout.Bytes != 400_004 || !r.Stdout.Truncated || len(r.Stdout.Head) != job.MaxOutputPart ||
		len(r.Stdout.Tail) != job.MaxOutputPart || !strings.HasSuffix(r.Stdout.Tail, "9\nLAST") {
		t.Errorf("stdout: %d bytes, head %d, tail %d", r.Stdout.Bytes, len(r.Stdout.Head), len(r.Stdout.Tail))
	}
	st, err := os.Stat(filepath.Join(dir, "output", keyOf(o.Task).String()))
	if err != nil || st.Size() > 100_100 {
		t.Fatalf("output file: %v, %v", st, err)
	}
	id := n.read(o, false)
	n.await("output", func() bool {
		out, dropped, eof, problem := n.text(id)
		if eof && (len(out[1]) < 50_000 || int64(len(out[1]))+dropped != 400_004 || problem != "") {
			t.Fatalf("got %d bytes, %d dropped, %q", len(out[1]), dropped, problem)
		}
		return eof
	})
}

func TestOutputFollow(t *testing.T) {
	t.Parallel()
	n, dir := newNode(t), dataDir(t)
	start(t, n, dir)
	gate := filepath.Join(t.TempDir(), "gate")
	o := shell(`while ! [ -e %s ]; do sleep 0.02; done; echo one; echo two >&2; sleep 0.3; echo three`, gate)
	n.order(o)
	n.running(o)
	id, now, stopped := n.read(o, true), n.read(o, false), n.read(o, true)
	n.await("end of the one that does not follow", func() bool { _, _, eof, _ := n.text(now); return eof })
	n.mu.Lock()
	_ = n.stream.Send(&agentpb.ToMinion{Body: &agentpb.ToMinion_OutputCancel{OutputCancel: &agentpb.OutputCancel{Id: stopped}}})
	n.mu.Unlock()
	touch(t, gate)
	n.await("all output", func() bool {
		out, _, eof, problem := n.text(id)
		if eof && (out[1] != "one\nthree\n" || out[2] != "two\n" || problem != "") {
			t.Fatalf("got %q, %q", out, problem)
		}
		return eof
	})
	none := n.read(newOrder("x"), false)
	n.await("refusal", func() bool {
		_, _, eof, problem := n.text(none)
		return eof && strings.Contains(problem, "does not know")
	})
	n.mu.Lock()
	if _, _, eof, _ := n.text(stopped); eof {
		t.Error("a cancelled request was answered")
	}
	n.mu.Unlock()
}

// TestOutputWaitsForASlowReader: no more is on its way to a reader than its window
// allows, and others get theirs meanwhile.
func TestOutputWaitsForASlowReader(t *testing.T) {
	t.Parallel()
	n, dir := newNode(t), dataDir(t)
	start(t, n, dir)
	o := newOrder("/bin/sh", "-c", `head -c 100000 /dev/zero | tr '\0' x`)
	n.order(o)
	n.final(o)
	const chunks = 3
	window := int64(chunks * (4<<10 + agentpb.ChunkWeight))
	n.mu.Lock()
	n.seq++
	slow := n.seq
	_ = n.stream.Send(&agentpb.ToMinion{Body: &agentpb.ToMinion_Output{Output: &agentpb.OutputRequest{
		Id: slow, Task: agentpb.FromTask(o.Task), Window: window,
	}}})
	n.mu.Unlock()
	whole := func(id uint64) func() bool {
		return func() bool {
			out, _, eof, problem := n.text(id)
			return eof && len(out[1]) == 100_000 && problem == ""
		}
	}
	n.await("the output of another reader", whole(n.read(o, false)))
	n.await("what the window allows", func() bool {
		out, _, eof, _ := n.text(slow)
		if len(out[1]) > chunks*4<<10 || eof {
			t.Fatalf("%d bytes, end %v", len(out[1]), eof)
		}
		return len(out[1]) == chunks*4<<10
	})
	n.mu.Lock()
	_ = n.stream.Send(&agentpb.ToMinion{Body: &agentpb.ToMinion_OutputMore{OutputMore: &agentpb.OutputMore{Id: slow, Taken: window}}})
	n.mu.Unlock()
	n.await("as much again", func() bool {
		out, _, _, _ := n.text(slow)
		return len(out[1]) == 2*chunks*4<<10
	})
	n.mu.Lock()
	for range 100_000 / (chunks * 4 << 10) {
		_ = n.stream.Send(&agentpb.ToMinion{Body: &agentpb.ToMinion_OutputMore{OutputMore: &agentpb.OutputMore{Id: slow, Taken: window}}})
	}
	n.mu.Unlock()
	n.await("the rest", func() bool { // more than the window at once counts as the window
		_ = n.stream.Send(&agentpb.ToMinion{Body: &agentpb.ToMinion_OutputMore{OutputMore: &agentpb.OutputMore{Id: slow, Taken: window}}})
		return whole(slow)()
	})
}

func TestOutputClean(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	m, err := New(Config{ID: "m1", DataDir: dir, Servers: []string{"127.0.0.1:1"}, ShimCommand: []string{"x"},
		OutputKeep: time.Hour, OutputTotal: 20 << 10}, Deps{})
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(m.cfg.path("output"), 0o700); err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	write := func(age time.Duration) string {
		o := newOrder("x")
		path := m.cfg.path("output", keyOf(o.Task).String())
		if err := os.WriteFile(path, make([]byte, 8<<10), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chtimes(path, now, now.Add(-age)); err != nil {
			t.Fatal(err)
		}
		return path
	}
	old, older, young, youngest := write(2*time.Hour), write(30*time.Minute), write(20*time.Minute), write(time.Minute)
	m.upkeep.cleanOutput(now, 0)
	for path, want := range map[string]bool{old: false, older: false, young: true, youngest: true} {
		if _, err := os.Stat(path); (err == nil) != want {
			t.Errorf("%s there: %v, want %v", filepath.Base(path), err == nil, want)
		}
	}
}

// Whatever a command writes: a report's output is valid UTF-8, within bounds,
// and says all or that it does not.
func TestOutputParts(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		text := strings.Repeat(rapid.StringN(0, 40, -1).Draw(t, "text"), rapid.IntRange(0, 600).Draw(t, "times"))
		head := min(len(text), 4<<10)
		p := shim.Part{Head: []byte(text[:head]), Tail: []byte(text[max(head, len(text)-4<<10):]), Bytes: int64(len(text))}
		o := output(p)
		if !utf8.ValidString(o.Head) || !utf8.ValidString(o.Tail) || len(o.Head) > job.MaxOutputPart || len(o.Tail) > job.MaxOutputPart {
			t.Fatalf("head %d, tail %d bytes", len(o.Head), len(o.Tail))
		}
		if !o.Truncated && o.Head+o.Tail != text {
			t.Fatal("says all, but is not")
		}
		if !strings.HasPrefix(text, o.Head) || !strings.HasSuffix(text, o.Tail) || o.Bytes != int64(len(text)) {
			t.Fatal("not the head and the tail")
		}
		if len(text) <= job.MaxOutputPart && (o.Head != text || o.Tail != "") {
			t.Fatal("fits, but was cut")
		}
	})
	if o := output(shim.Part{Head: []byte("a\xff\xfeb"), Bytes: 4}); o.Head != "a\uFFFD\uFFFDb" {
		t.Errorf("head = %q", o.Head)
	}
}
