package netproxy

import (
	"bufio"
	"io"
	"net"
	"strconv"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// echo answers every line with itself.
func echo(t *testing.T) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			go func() { _, _ = io.Copy(c, c); _ = c.Close() }()
		}
	}()
	t.Cleanup(func() { _ = ln.Close(); <-done })
	return ln.Addr().String()
}

type caller struct {
	net.Conn

	r    *bufio.Reader
	last int
}

func dial(t *testing.T, p *Proxy) *caller {
	t.Helper()
	c, err := net.Dial("tcp", p.Addr())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return &caller{Conn: c, r: bufio.NewReader(c)}
}

// ask sends a line and waits for its echo; echoes of earlier lines may come first.
func (c *caller) ask() error {
	c.last++
	line := strconv.Itoa(c.last) + "\n"
	if _, err := io.WriteString(c, line); err != nil {
		return err
	}
	for {
		if got, err := c.r.ReadString('\n'); err != nil || got == line {
			return err
		}
	}
}

func TestFaults(t *testing.T) {
	t.Parallel()
	p := New(t, echo(t))
	c := dial(t, p)
	must := func(want bool, what string, c *caller) {
		t.Helper()
		if err := c.ask(); (err == nil) != want {
			t.Fatalf("%s: answered is %v, want %v (%v)", what, err == nil, want, err)
		}
	}
	silent := func(what string, c *caller) {
		t.Helper()
		_ = c.SetDeadline(time.Now().Add(100 * time.Millisecond))
		must(false, what, c)
		_ = c.SetDeadline(time.Time{})
	}
	must(true, "no fault", c)

	p.Delay(50 * time.Millisecond)
	start := time.Now()
	must(true, "delay", c)
	if d := time.Since(start); d < 100*time.Millisecond {
		t.Errorf("delayed answer took %s, want at least 100ms", d)
	}
	p.Heal()

	p.Blackhole()
	silent("black hole", c)
	p.Heal()
	must(true, "after a black hole, same connection", c)

	p.DropReplies()
	silent("dropped replies", c)
	p.Heal()
	must(false, "connection that misses bytes", c)
	c = dial(t, p)
	must(true, "new connection", c)

	p.Drop()
	must(false, "dropped connection", c)

	p.Refuse()
	must(false, "refused", dial(t, p))
	p.Heal()
	must(true, "healed", dial(t, p))
}
