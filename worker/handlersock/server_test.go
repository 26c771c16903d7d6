package handlersock

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"net"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/carillon-cron/carillon/handler"
	"github.com/carillon-cron/carillon/handler/protocol"
	"github.com/carillon-cron/carillon/internal/testkit/await"
	"github.com/carillon-cron/carillon/job"
	"github.com/carillon-cron/carillon/worker"
)

// serve serves a socket until the test ends.
func serve(t *testing.T) *Server {
	t.Helper()
	s, err := Listen(Config{Path: filepath.Join(t.TempDir(), "h.sock"), Minion: "m1"}, Deps{})
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- s.Run(ctx) }()
	t.Cleanup(func() {
		stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	return s
}

// process is the other end of a connection.
type process struct {
	t    *testing.T
	conn net.Conn
	in   *bufio.Scanner
}

func dial(t *testing.T, s *Server) *process {
	t.Helper()
	c, err := net.Dial("unix", s.cfg.Path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	in := bufio.NewScanner(c)
	in.Buffer(nil, protocol.MaxLine)
	return &process{t, c, in}
}

func (p *process) say(line string) {
	p.t.Helper()
	if _, err := p.conn.Write([]byte(line + "\n")); err != nil {
		p.t.Fatal(err)
	}
}

func (p *process) hear() protocol.Line {
	p.t.Helper()
	var l protocol.Line
	if !p.in.Scan() {
		p.t.Fatalf("nothing comes: %v", p.in.Err())
	}
	if err := json.Unmarshal(p.in.Bytes(), &l); err != nil {
		p.t.Fatal(err)
	}
	return l
}

const hello = `{"type":"hello","protocol":1,"handlers":[{"name":"mail","queue":"mail","places":2,"schema":{"type":"object"}}]}`

// call calls the handler mail, and tells its end.
func call(ctx context.Context, s *Server) <-chan error {
	ended := make(chan error, 1)
	c := &worker.Call{Attempt: 1, Env: map[string]string{job.EnvQueue: "mail", job.EnvItem: "i1", job.EnvPayload: `{"to":"ada"}`, job.EnvCheckpoint: "7"}}
	go func() { ended <- s.Handler("mail")(ctx, c) }()
	return ended
}

// TestTasks: a task goes to the process that has the handler, and ends as it says (S2); a
// process offers its queues for as long as it is there (S6).
func TestTasks(t *testing.T) {
	t.Parallel()
	s := serve(t)
	if s.Handler("mail") != nil {
		t.Fatal("there is a handler before any process is")
	}
	p := dial(t, s)
	p.say(hello)
	if l := p.hear(); l.Type != protocol.Welcome || l.Minion != "m1" {
		t.Fatalf("%+v", l)
	}
	await.Until(t, "the handler", func() bool { return s.Handler("mail") != nil })
	key := job.Key{Namespace: "default", Name: "mail"}
	if s.Offers()[key] != 2 || s.Facts()[job.FactHandler+"mail"] != `{"type":"object"}` || Merged(job.QueueOffers{key: 1}, s.Offers())[key] != 3 {
		t.Errorf("offers %v, facts %v", s.Offers(), s.Facts())
	}
	for said, is := range map[string]func(error) bool{
		`"result":"ok"`: func(err error) bool { return err == nil },
		`"result":"failed","reason":"out of paper"`: func(err error) bool { return err != nil && err.Error() == "out of paper" },
		`"result":"permanent","reason":"x"`:         func(err error) bool { return errors.As(err, new(*handler.PermanentError)) },
		`"result":"snooze","after":60`: func(err error) bool {
			e := new(handler.SnoozeError)
			return errors.As(err, &e) && e.After == time.Minute
		},
		`"result":"interrupted","reason":"going away"`: func(err error) bool { return errors.Is(err, handler.ErrStopping) },
	} {
		ended := call(t.Context(), s)
		l := p.hear()
		if l.Type != protocol.Task || l.Handler != "mail" || l.Item != "i1" || string(l.Input) != `{"to":"ada"}` || string(l.Checkpoint) != "7" {
			t.Fatalf("%+v", l)
		}
		p.say(`{"type":"progress","task":"` + l.Task + `","percent":50}`)
		p.say(`{"type":"done","task":"` + l.Task + `",` + said + `}`)
		p.say(`{"type":"done","task":"` + l.Task + `","result":"ok"}`) // what comes later is nothing
		if err := <-ended; !is(err) {
			t.Errorf("%s: %v", said, err)
		}
	}
	p.say(`{"type":"bye"}`)
	await.Until(t, "the end of the offer", func() bool { return s.Handler("mail") == nil && len(s.Offers()) == 0 })
}

// TestGone: what a process had that has gone is indeterminate (S3); what ends a call is told.
func TestGone(t *testing.T) {
	t.Parallel()
	s := serve(t)
	p := dial(t, s)
	p.say(hello)
	p.hear()
	await.Until(t, "the handler", func() bool { return s.Handler("mail") != nil })
	for want, cause := range map[string]error{protocol.Cancelled: handler.ErrCancelled, protocol.Stopping: handler.ErrStopping, protocol.Timeout: context.DeadlineExceeded} {
		ctx, cancel := context.WithCancelCause(t.Context())
		ended := call(ctx, s)
		l := p.hear()
		cancel(cause)
		if c := p.hear(); c.Type != protocol.Cancel || c.Task != l.Task || c.Cause != want {
			t.Errorf("%v: %+v", cause, c)
		}
		p.say(`{"type":"done","task":"` + l.Task + `","result":"failed","reason":"as told"}`)
		if err := <-ended; err == nil || !strings.Contains(err.Error(), "as told") {
			t.Errorf("%v: %v", cause, err)
		}
	}
	ended := call(t.Context(), s)
	p.hear()
	_ = p.conn.Close()
	if err := <-ended; !errors.Is(err, worker.ErrGone) {
		t.Errorf("gone: %v", err)
	}
}

// TestRefused: what is not in the protocol is refused, with the reason (S5).
func TestRefused(t *testing.T) {
	t.Parallel()
	s := serve(t)
	for said, want := range map[string]string{
		`{"type":"bye"}`:                "say hello",
		`nonsense`:                      "no JSON object of the protocol",
		`{"type":"hello"}`:              "this minion speaks 1",
		`{"type":"hello","protocol":1}`: "say 1 to 64",
		`{"type":"hello","protocol":1,"handlers":[{"name":"a b"},{"name":"c"},{"name":"c"},{"name":"d","queue":"x y"}]}`: "there are two handlers",
		hello + "\n" + `{"type":"weather"}`:                                       `of type "weather"`,
		hello + "\n" + `{"type":"done","task":"1","result":"perhaps"}`:            `result "perhaps"`,
		hello + "\n" + `{"type":"progress","task":"1","percent":101}`:             "say 0 to 100",
		`{"type":"hello","name":"` + strings.Repeat("x", protocol.MaxLine) + `"}`: "more than",
	} {
		p := dial(t, s)
		go func() { _, _ = p.conn.Write([]byte(said + "\n")) }() // a long line is not read to its end
		l := p.hear()
		if l.Type == protocol.Welcome {
			l = p.hear()
		}
		if l.Type != protocol.Refused || !strings.Contains(l.Reason, want) {
			t.Errorf("%.80s: %+v; want %q", said, l, want)
		}
	}
	if _, err := Listen(Config{Path: s.cfg.Path}, Deps{}); err == nil || !strings.Contains(err.Error(), "another process serves it") {
		t.Errorf("a second server: %v", err)
	}
}
