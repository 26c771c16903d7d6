package export

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
	"go.uber.org/zap"

	"github.com/carillon-cron/carillon/api"
	"github.com/carillon-cron/carillon/internal/audit/chain"
	"github.com/carillon-cron/carillon/internal/etcdkv"
	"github.com/carillon-cron/carillon/internal/testkit/await"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// fakeChain is a chain in memory, with n records in segment n.
type fakeChain struct {
	mu sync.Mutex
	// mu guards all below.
	first, last int64
	err         error
	// Segments behind fork are others, by their hashes; 0: none is.
	fork int64
}

func (c *fakeChain) hash(seq int64) string {
	if c.fork > 0 && seq > c.fork {
		return fmt.Sprint("other", seq)
	}
	return fmt.Sprint("hash", seq)
}

func (c *fakeChain) Head(context.Context) (etcdkv.AuditHead, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return etcdkv.AuditHead{First: c.first, Seq: c.last, Hash: c.hash(c.last), Prev: c.hash(c.first - 1)}, c.err
}

func (c *fakeChain) Segment(_ context.Context, seq int64) (chain.Sealed, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if seq < c.first || seq > c.last {
		return chain.Sealed{}, chain.ErrGone
	}
	return chain.Sealed{AuditSegment: etcdkv.AuditSegment{Seq: seq, Hash: c.hash(seq)}}, nil
}

func (c *fakeChain) grow(to int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.last = to
}

func recordsOf(s *chain.Sealed) []api.AuditRecord {
	var out []api.AuditRecord
	for i := range s.Seq {
		out = append(out, api.AuditRecord{Action: "job.change", Object: fmt.Sprintf("job ops/%d-%d", s.Seq, i), Segment: s.Seq})
	}
	return out
}

func sealOf(s *chain.Sealed) api.AuditSeal { return api.AuditSeal{Segment: s.Seq, SHA256: s.Hash} }

func newExporter(c Chain, s Sink) *Exporter {
	return New(Config{Name: "test", Every: time.Millisecond, Retry: time.Millisecond}, Deps{Chain: c, Sink: s, Records: recordsOf, Seal: sealOf, Logger: zap.NewNop()})
}

// want are the lines of an export up to a segment.
func want(t *testing.T, from, to int64) string {
	t.Helper()
	var b strings.Builder
	for seq := from; seq <= to; seq++ {
		s := chain.Sealed{AuditSegment: etcdkv.AuditSegment{Seq: seq, Hash: fmt.Sprint("hash", seq)}}
		for _, r := range recordsOf(&s) {
			fmt.Fprintln(&b, encoded(t, r))
		}
		fmt.Fprintln(&b, encoded(t, sealOf(&s)))
	}
	return b.String()
}

func encoded(t *testing.T, v any) string {
	t.Helper()
	text, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// files are where a test's export is.
type files struct {
	t           *testing.T
	path, state string
}

func newFiles(t *testing.T) *files {
	t.Helper()
	dir := t.TempDir()
	return &files{t, filepath.Join(dir, "audit.jsonl"), filepath.Join(dir, "state.json")}
}

func (f *files) open() *File {
	f.t.Helper()
	s, err := OpenFile(f.path, f.state)
	if err != nil {
		f.t.Fatal(err)
	}
	f.t.Cleanup(func() { _ = s.Close() })
	return s
}

func (f *files) text() string {
	f.t.Helper()
	text, err := os.ReadFile(f.path)
	if err != nil {
		f.t.Fatal(err)
	}
	return string(text)
}

// export exports what there is.
func (f *files) export(c Chain) {
	f.t.Helper()
	s := f.open()
	if err := newExporter(c, s).once(f.t.Context()); err != nil {
		f.t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		f.t.Fatal(err)
	}
}

// TestE2_EachSegmentOnce: wherever the node ends while it writes a segment, and whatever
// of its memory is lost, the file has each segment once, whole, and in order.
func TestE2_EachSegmentOnce(t *testing.T) {
	t.Parallel()
	whole := want(t, 1, 3)
	second := len(want(t, 1, 2))
	for cut := 0; cut <= len(whole)-second; cut += 29 {
		for _, memory := range []string{"as it was", "older", "gone", "damaged"} {
			f := newFiles(t)
			c := &fakeChain{first: 1, last: 2}
			f.export(c)
			old, err := os.ReadFile(f.state)
			if err != nil {
				t.Fatal(err)
			}
			c.grow(3)
			f.export(c)
			if err := os.Truncate(f.path, int64(second+cut)); err != nil {
				t.Fatal(err)
			}
			switch memory {
			case "as it was":
				if second+cut < len(whole) { // it is written when all is there
					memory = "older"
				}
			case "gone":
				err = os.Remove(f.state)
			case "damaged":
				err = os.WriteFile(f.state, []byte("{"), 0o600)
			}
			if memory == "older" {
				err = os.WriteFile(f.state, old, 0o600)
			}
			if err != nil {
				t.Fatal(err)
			}
			c.grow(4)
			f.export(c)
			if got := f.text(); got != want(t, 1, 4) {
				t.Fatalf("cut off after %d bytes, memory %s:\n%s", cut, memory, got)
			}
		}
	}
}

// TestFileIsForItsOwner, and no other file is written into.
func TestFileIsForItsOwner(t *testing.T) {
	t.Parallel()
	f := newFiles(t)
	f.export(&fakeChain{first: 1, last: 1})
	info, err := os.Stat(f.path)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", info.Mode(), err)
	}
	for name, text := range map[string]string{"a log": "started\n", "JSON": "{\"level\":\"info\",\"msg\":\"x\"}\n", "another one": "[1]\n"} {
		f := newFiles(t)
		if err := os.WriteFile(f.path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := OpenFile(f.path, f.state); err == nil || !strings.Contains(err.Error(), "give another file") {
			t.Errorf("%s is taken: %v", name, err)
		}
		if got := f.text(); got != text {
			t.Errorf("%s was changed: %q", name, got)
		}
	}
	if _, err := OpenFile("/dev/null", f.state); err == nil {
		t.Error("a device is taken for a file")
	}
}

// TestE3_RotatedFiles: a file that was moved away, removed or emptied goes on with the
// next segment.
func TestE3_RotatedFiles(t *testing.T) {
	t.Parallel()
	for name, rotate := range map[string]func(path string) error{
		"moved":   func(path string) error { return os.Rename(path, path+".1") },
		"removed": os.Remove,
		"emptied": func(path string) error { return os.Truncate(path, 0) },
		"moved, and made": func(path string) error {
			return errors.Join(os.Rename(path, path+".1"), os.WriteFile(path, nil, 0o640))
		},
	} {
		for _, running := range []bool{true, false} {
			f := newFiles(t)
			c := &fakeChain{first: 1, last: 2}
			s := f.open()
			e := newExporter(c, s)
			if err := e.once(t.Context()); err != nil {
				t.Fatal(err)
			}
			if err := rotate(f.path); err != nil {
				t.Fatal(err)
			}
			c.grow(4)
			if running {
				if err := e.once(t.Context()); err != nil {
					t.Fatal(err)
				}
			} else {
				f.export(c)
			}
			if got := f.text(); got != want(t, 3, 4) {
				t.Errorf("%s, running %v:\n%s", name, running, got)
			}
		}
	}
}

// TestE5_FullDisk: what cannot be written is cut off, and written when there is room.
func TestE5_FullDisk(t *testing.T) {
	t.Parallel()
	f := newFiles(t)
	c := &fakeChain{first: 1, last: 2}
	s := f.open()
	if err := newExporter(c, s).once(t.Context()); err != nil {
		t.Fatal(err)
	}
	c.grow(3)
	good := s.f
	full, err := os.OpenFile("/dev/full", os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer full.Close()
	s.f = full
	s.path = "/dev/full" // the same file, for again
	s.at.Size = 0
	if err := s.Write(t.Context(), 3, [][]byte{[]byte("{}")}); err == nil || s.Last() != 2 {
		t.Fatalf("%v, and it has segment %d", err, s.Last())
	}
	s.f, s.path, s.at.Size = good, f.path, int64(len(want(t, 1, 2)))
	if err := newExporter(c, s).once(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := f.text(); got != want(t, 1, 3) {
		t.Errorf("got\n%s", got)
	}
}

// failing is a sink that fails some times.
type failing struct {
	Sink
	mu    sync.Mutex
	times int
	tried int
}

func (f *failing) Write(ctx context.Context, seq int64, lines [][]byte) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.tried++
	if f.times--; f.times >= 0 {
		return errors.New("no space left on device")
	}
	return f.Sink.Write(ctx, seq, lines)
}

// TestE5_ItIsTriedAgain, and segments that are gone by then are told to be missing.
func TestE5_ItIsTriedAgain(t *testing.T) {
	t.Parallel()
	f := newFiles(t)
	c := &fakeChain{first: 3, last: 4}
	sink := &failing{Sink: f.open(), times: 5}
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = newExporter(c, sink).Run(ctx)
	}()
	missing := `{"segment":2,"missing":"segments 1 to 2 had been removed before they were exported"}` + "\n"
	await.Until(t, "the export", func() bool { return f.text() == missing+want(t, 3, 4) })
	stop()
	<-done
	f.export(c)
	if got := f.text(); got != missing+want(t, 3, 4) {
		t.Errorf("started again:\n%s", got)
	}
}

// TestE6_AnotherChain: after a backup was restored, the segments follow from where the
// chains part, also where their numbers are those of segments that were exported.
func TestE6_AnotherChain(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		last     int64 // of the restored chain
		remember bool
		from     int64
	}{
		"longer": {last: 6, remember: true, from: 4}, "as long": {last: 5, remember: true, from: 4}, "shorter": {last: 4, remember: true, from: 4},
		"as of the backup": {last: 3, remember: true, from: 4}, "memory gone": {last: 6, from: 4},
	} {
		f := newFiles(t)
		f.export(&fakeChain{first: 1, last: 5})
		if !tc.remember {
			if err := os.Remove(f.state); err != nil {
				t.Fatal(err)
			}
		}
		c := &fakeChain{first: 1, last: tc.last, fork: 3}
		f.export(c)
		f.export(c) // nothing more
		rest, is := strings.CutPrefix(f.text(), want(t, 1, 5)+`{"segment":3,"restored":"segment 5 is another one in the cluster, or not there: `)
		if !is {
			t.Fatalf("%s:\n%s", name, f.text())
		}
		_, rest, _ = strings.Cut(rest, "\n")
		if wanted := strings.ReplaceAll(want(t, tc.from, tc.last), `"hash`, `"other`); rest != wanted {
			t.Errorf("%s: behind the line\n%s\nwant\n%s", name, rest, wanted)
		}
		c.grow(tc.last + 1)
		f.export(c)
		if !strings.Contains(f.text(), fmt.Sprintf(`"sha256":"other%d"`, tc.last+1)) {
			t.Errorf("%s: it does not go on:\n%s", name, f.text())
		}
	}
}

// TestE4_Syslog: messages are as RFC 5424 has them, over a local socket and by TCP, and
// go on after the other end was away.
func TestE4_Syslog(t *testing.T) {
	t.Parallel()
	form := regexp.MustCompile(`^<109>1 \d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z n1 carillon \d+ audit - (\{.*\})$`)
	check := func(t *testing.T, messages []string, from, to int64) {
		t.Helper()
		var b strings.Builder
		for _, m := range messages {
			got := form.FindStringSubmatch(m)
			if got == nil {
				t.Fatalf("no message: %q", m)
			}
			fmt.Fprintln(&b, got[1])
		}
		if b.String() != want(t, from, to) {
			t.Errorf("got\n%s", b.String())
		}
	}
	t.Run("datagrams", func(t *testing.T) {
		t.Parallel()
		path := filepath.Join(t.TempDir(), "log")
		l, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		s, err := OpenSyslog(NetworkUnix, path, filepath.Join(t.TempDir(), "state"), "n1")
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		if err := newExporter(&fakeChain{first: 1, last: 3}, s).once(t.Context()); err != nil {
			t.Fatal(err)
		}
		var got []string
		buf := make([]byte, 64<<10)
		for range 1 + 2 + 3 + 3 {
			n, err := l.Read(buf)
			if err != nil {
				t.Fatal(err)
			}
			got = append(got, string(buf[:n]))
		}
		check(t, got, 1, 3)
	})
	t.Run("a stream", func(t *testing.T) {
		t.Parallel()
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		state := filepath.Join(t.TempDir(), "state")
		c := &fakeChain{first: 1, last: 2}
		open := func() *Syslog {
			s, err := OpenSyslog(NetworkTCP, l.Addr().String(), state, "n1")
			if err != nil {
				t.Fatal(err)
			}
			return s
		}
		s := open()
		if err := newExporter(c, s).once(t.Context()); err != nil {
			t.Fatal(err)
		}
		check(t, received(t, l, s), 1, 2)
		c.grow(3)
		s = open() // a node that starts again
		if err := newExporter(c, s).once(t.Context()); err != nil {
			t.Fatal(err)
		}
		check(t, received(t, l, s), 3, 3)
		_ = l.Close()
		c.grow(4)
		s = open()
		if err := newExporter(c, s).once(t.Context()); err == nil || s.Last() != 3 {
			t.Errorf("nobody listens: %v, segment %d", err, s.Last())
		}
	})
}

// received returns the messages of the next connection, which s closes.
func received(t *testing.T, l net.Listener, s *Syslog) []string {
	t.Helper()
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	conn, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	text, err := io.ReadAll(conn)
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for r := bufio.NewReader(bytes.NewReader(text)); ; {
		length, err := r.ReadString(' ')
		if errors.Is(err, io.EOF) {
			return out
		}
		n, err := strconv.Atoi(strings.TrimSuffix(length, " "))
		if err != nil {
			t.Fatalf("%q: %v", length, err)
		}
		message := make([]byte, n)
		if _, err := io.ReadFull(r, message); err != nil {
			t.Fatal(err)
		}
		out = append(out, string(message))
	}
}
