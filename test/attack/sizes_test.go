package attack

import (
	"crypto/tls"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/carillon-cron/carillon/agentpush/agentpb"
	"github.com/carillon-cron/carillon/job"
)

// sizes are what a node takes: its resident memory, the most of it since reset,
// and the database of its etcd, in bytes.
type sizes struct{ memory, peak, etcd int64 }

// sizes measures a node with an etcd of its own.
func (n *node) sizes(t testing.TB) (s sizes) {
	t.Helper()
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", n.cmd.Process.Pid))
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(status)) {
		name, rest, _ := strings.Cut(line, ":")
		kb, _, _ := strings.Cut(strings.TrimSpace(rest), " ")
		v, _ := strconv.ParseInt(kb, 10, 64) // the others are no numbers
		switch name {
		case "VmRSS":
			s.memory = v << 10
		case "VmHWM":
			s.peak = v << 10
		}
	}
	if err := filepath.WalkDir(n.dir, func(path string, d os.DirEntry, err error) error {
		if err == nil && d.Name() == "db" {
			var st os.FileInfo
			if st, err = d.Info(); err == nil {
				s.etcd += st.Size()
			}
		}
		return err
	}); err != nil {
		t.Fatal(err)
	}
	if s.memory == 0 || s.peak == 0 || s.etcd == 0 {
		t.Fatalf("nothing was measured: %+v", s)
	}
	return s
}

// resetPeak has the most memory counted anew.
func (n *node) resetPeak(t testing.TB) {
	t.Helper()
	if err := os.WriteFile(fmt.Sprintf("/proc/%d/clear_refs", n.cmd.Process.Pid), []byte("5"), 0); err != nil {
		t.Fatal(err)
	}
}

// liar is a minion with a good certificate that says what it likes. What it is
// told to run, it says it has run.
type liar struct {
	stream agentpb.Push_SessionClient
	mu     sync.Mutex // guards sending
	// readers are the ids of requests for output. ended is closed at the end.
	readers chan uint64
	ended   chan struct{}
}

// lie opens a session; deaf: it reads nothing but the welcome.
func lie(t testing.TB, n *node, cert *tls.Certificate, id string, deaf bool) *liar {
	t.Helper()
	stream, err := agentpb.NewPushClient(dial(t, n, cert)).Session(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	l := &liar{stream: stream, readers: make(chan uint64, 1024), ended: make(chan struct{})}
	l.send(&agentpb.FromMinion{Body: &agentpb.FromMinion_Hello{Hello: &agentpb.Hello{Minion: id, Instance: id, Protocol: agentpb.Protocol}}})
	if m, err := stream.Recv(); err != nil || m.GetWelcome() == nil {
		t.Fatalf("no welcome: %v, %v", m, err)
	}
	if !deaf {
		go l.listen()
	}
	return l
}

func (l *liar) send(f *agentpb.FromMinion) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.stream.Send(f) == nil
}

func (l *liar) listen() {
	defer close(l.ended)
	for {
		m, err := l.stream.Recv()
		if err != nil {
			return
		}
		if id := m.GetOutput().GetId(); id != 0 {
			l.readers <- id
		}
		offer := m.GetOffer()
		if offer == nil {
			continue
		}
		l.send(&agentpb.FromMinion{Body: &agentpb.FromMinion_Taken{Taken: &agentpb.Taken{Seq: offer.GetSeq()}}})
		now := time.Now().UnixNano()
		for _, o := range offer.GetOrders() {
			l.send(&agentpb.FromMinion{Body: &agentpb.FromMinion_Reports{Reports: &agentpb.Reports{Reports: []*agentpb.Report{{
				Task: o.GetTask(), Shard: o.GetShard(), Known: true, State: string(job.StateSucceeded), StartedAt: now, EndedAt: now, Exited: true, Spooled: true,
				Stdout: &agentpb.Output{Head: []byte("x"), Bytes: 1 << 30, Truncated: true},
			}}}}})
		}
	}
}

// TestSizesOfFloods measures what a node takes when a minion that was taken floods
// it: with descriptions of itself, with output for readers that do not read, and
// with questions for texts whose answers it does not read. The figures:
//
//	go test ./test/attack -run TestSizesOfFloods -v
//
// Where nodes believed minions, three times as many descriptions took 93 MB in etcd, and
// three times the output, and the questions, 1.6 GB and 270 MB of memory.
func TestSizesOfFloods(t *testing.T) {
	t.Parallel()
	const (
		mb = 1 << 20
		// The node's own garbage comes and goes within the bound for memory.
		mostMemory, mostEtcd = 128 * mb, 8 * mb
	)
	inventory := func(i, values, size int) *agentpb.FromMinion {
		facts := map[string]string{}
		for k := range values {
			facts[fmt.Sprintf("fact%d", k)] = strings.Repeat("x", size-8) + fmt.Sprintf("%08d", i)
		}
		return &agentpb.FromMinion{Body: &agentpb.FromMinion_Inventory{Inventory: &agentpb.Inventory{Facts: facts}}}
	}
	// refused ends a session: it is read after all that was sent before it.
	refused := inventory(0, 1, mb)
	// ready is called before the measuring begins, and returns the attack, which
	// returns how many bytes it has sent.
	flood := func(name string, ready func(t *testing.T, n *node, cert *tls.Certificate) func() int) {
		t.Run(name, func(t *testing.T) {
			n := startNode(t, nil, "n1")
			attack := ready(t, n, joined(t, n, "taken"))
			n.resetPeak(t)
			before := n.sizes(t)
			sent := attack()
			after := n.sizes(t)
			t.Logf("%d MB sent; etcd %.1f MB, before %.1f MB; memory %d MB at most, before %d MB",
				sent/mb, float64(after.etcd)/mb, float64(before.etcd)/mb, after.peak/mb, before.memory/mb)
			if grown := after.etcd - before.etcd; grown > mostEtcd {
				t.Errorf("etcd has grown by %d bytes, more than %d", grown, mostEtcd)
			}
			if grown := after.peak - before.memory; grown > mostMemory {
				t.Errorf("memory has grown by %d bytes, more than %d", grown, mostMemory)
			}
			startMinion(t, n, "web1")
			n.carillon(t, "exec", "--target", "web1", "--", "true").must(t)
		})
	}

	flood("64 descriptions of 1 MB", func(t *testing.T, n *node, cert *tls.Certificate) func() int {
		return func() int {
			const times = 64
			for i := range times {
				l := lie(t, n, cert, "taken", false)
				l.send(inventory(i, 1, mb))
				<-l.ended
			}
			return times * mb
		}
	})
	flood("descriptions as large as they may be", func(t *testing.T, n *node, cert *tls.Certificate) func() int {
		l := lie(t, n, cert, "taken", false)
		return func() int {
			const times, facts, size = 2048, 31, 1000
			for i := range times {
				if !l.send(inventory(i, facts, size)) {
					t.Fatal("the session has ended")
				}
			}
			l.send(refused)
			<-l.ended
			return times * facts * size
		}
	})
	flood("output for readers that do not read", func(t *testing.T, n *node, cert *tls.Certificate) func() int {
		l := lie(t, n, cert, "taken", false)
		run := lastLine(n.carillon(t, "-o", "name", "exec", "--target", "taken", "--", "true").must(t))
		var readers []uint64
		for range 16 {
			conn, err := net.Dial("tcp", n.api)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = conn.Close() })
			if _, err := fmt.Fprintf(conn, "GET /v1/runs/%s/output?follow=true HTTP/1.1\r\nHost: localhost\r\n\r\n", run); err != nil {
				t.Fatal(err)
			}
			readers = append(readers, <-l.readers)
		}
		return func() int {
			const times = 320 * mb / agentpb.MaxChunk
			chunk := make([]byte, agentpb.MaxChunk)
			for i := range times {
				if !l.send(&agentpb.FromMinion{Body: &agentpb.FromMinion_Output{Output: &agentpb.OutputChunk{Id: readers[i%len(readers)], Stream: 1, Data: chunk}}}) {
					t.Fatal("the session has ended")
				}
			}
			l.send(refused)
			<-l.ended
			return times * len(chunk)
		}
	})
	flood("questions for large texts", func(t *testing.T, n *node, cert *tls.Certificate) func() int {
		text := "#!/bin/sh\n" + strings.Repeat(": x\n", job.MaxScriptBytes/4-16)
		n.apply(t, fmt.Sprintf("apiVersion: carillon/v1\nkind: Script\nmetadata: {name: large}\nspec:\n  source: %q\n", text)).must(t)
		l := lie(t, n, cert, "taken", true)
		return func() int {
			const times = 20_000
			sum := job.ScriptSum(text)
			for range times {
				if !l.send(&agentpb.FromMinion{Body: &agentpb.FromMinion_Fetch{Fetch: &agentpb.Fetch{Sha256: []string{sum}}}}) {
					break // it has read nothing for too long
				}
			}
			l.send(refused)
			answers := 0
			for {
				m, err := l.stream.Recv()
				if err != nil {
					break
				}
				if m.GetText().GetText() == text {
					answers++
				}
			}
			if answers == 0 {
				t.Error("no question was answered: they ask for nothing")
			}
			return times * len(sum)
		}
	})
}
