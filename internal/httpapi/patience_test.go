package httpapi

import (
	"bufio"
	"context"
	"io"
	"net"
	"net/http"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/carillon-cron/carillon/api"
	"github.com/carillon-cron/carillon/job"
)

// pipes is a listener whose connections are in memory, so that the clock of a bubble
// goes on while they wait.
type pipes struct {
	conns chan net.Conn
	once  sync.Once
	done  chan struct{}
}

func newPipes() *pipes { return &pipes{conns: make(chan net.Conn), done: make(chan struct{})} }

func (p *pipes) Accept() (net.Conn, error) {
	select {
	case c := <-p.conns:
		return c, nil
	case <-p.done:
		return nil, net.ErrClosed
	}
}

func (p *pipes) Close() error   { p.once.Do(func() { close(p.done) }); return nil }
func (p *pipes) Addr() net.Addr { return &net.UnixAddr{Name: "pipes", Net: "unix"} }

func (p *pipes) dial(context.Context, string, string) (net.Conn, error) {
	here, there := net.Pipe()
	p.conns <- there
	return here, nil
}

// protocols are HTTP/1.1 or HTTP/2 without TLS.
func protocols(second bool) *http.Protocols {
	p := new(http.Protocols)
	p.SetHTTP1(!second)
	p.SetUnencryptedHTTP2(second)
	return p
}

// between serves the API to a client in memory, both by one protocol.
func between(t *testing.T, second bool, c Control) *http.Client {
	t.Helper()
	reg := prometheus.NewRegistry()
	a, err := New(Config{}, Deps{Control: c, Gatherer: reg, Registerer: reg})
	if err != nil {
		t.Fatal(err)
	}
	l := newPipes()
	srv := &http.Server{Handler: a, Protocols: protocols(second)}
	served := make(chan struct{})
	go func() {
		defer close(served)
		_ = srv.Serve(l)
	}()
	tr := &http.Transport{Protocols: protocols(second), DialContext: l.dial}
	t.Cleanup(func() {
		tr.CloseIdleConnections()
		_ = srv.Close()
		<-served
	})
	return &http.Client{Transport: tr}
}

// slowControl takes its time before it answers, and between two pieces of output.
type slowControl struct{ fakeControl }

const slow = 2 * DefaultOutputTimeout

func (*slowControl) Version() api.Version {
	time.Sleep(slow)
	return api.Version{Version: "1.2.3"}
}

func (*slowControl) Output(_ context.Context, _ job.RunID, _ job.MinionID, _ bool, fn func(api.OutputLine) error) error {
	for range 2 {
		time.Sleep(slow)
		if err := fn(api.OutputLine{Minion: "web1", Stream: 1, Data: []byte("x")}); err != nil {
			return err
		}
	}
	time.Sleep(slow)
	return nil
}

// However long nothing is said, an answer is not cut off: what a client may take too
// long for is to read.
func TestSilenceEndsNoAnswer(t *testing.T) {
	t.Parallel()
	for name, second := range map[string]bool{"HTTP/1.1": false, "HTTP/2.0": true} {
		for path, lines := range map[string]int{"/v1/version": 1, "/v1/runs/abcd-0123456789abcdef/output?follow=true": 2} {
			t.Run(name+path, func(t *testing.T) {
				t.Parallel()
				synctest.Test(t, func(t *testing.T) {
					res, err := between(t, second, &slowControl{}).Get("http://localhost" + path)
					if err != nil {
						t.Fatal(err)
					}
					defer func() { _ = res.Body.Close() }()
					got := 0
					for in := bufio.NewScanner(res.Body); ; got++ {
						if !in.Scan() {
							err = in.Err()
							break
						}
					}
					if err != nil || got != lines || res.StatusCode != http.StatusOK || res.Proto != name {
						t.Errorf("%s %s, %d lines of %d: %v", res.Proto, res.Status, got, lines, err)
					}
				})
			})
		}
	}
}

// endlessControl writes output until nobody takes it any more.
type endlessControl struct {
	fakeControl

	over chan error
}

func (c *endlessControl) Output(_ context.Context, _ job.RunID, _ job.MinionID, _ bool, fn func(api.OutputLine) error) error {
	for {
		if err := fn(api.OutputLine{Minion: "web1", Stream: 1, Data: make([]byte, 64<<10)}); err != nil {
			c.over <- err
			return err
		}
	}
}

// A client that does not read what is there loses its stream, whatever it speaks.
func TestWhoDoesNotReadLosesTheStream(t *testing.T) {
	t.Parallel()
	for name, second := range map[string]bool{"HTTP/1.1": false, "HTTP/2.0": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				c := &endlessControl{over: make(chan error, 1)}
				begin := time.Now()
				res, err := between(t, second, c).Get("http://localhost/v1/runs/abcd-0123456789abcdef/output")
				if err != nil {
					t.Fatal(err)
				}
				if err := <-c.over; err == nil || time.Since(begin) > DefaultOutputTimeout+time.Second {
					t.Errorf("after %v: %v", time.Since(begin), err)
				}
				_, _ = io.Copy(io.Discard, res.Body)
				_ = res.Body.Close()
			})
		})
	}
}
