package worker

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"slices"
	"sync"
	"time"

	"github.com/carillon-cron/carillon/worker/program"
	"github.com/carillon-cron/carillon/worker/shim"
)

const (
	// testPrefix begins the keys of self-tests, which are no tasks.
	testPrefix = "self-test-"
	// testTimeout is the longest that the command of a self-test may run.
	testTimeout = 10 * time.Second
	// quietPoll is how often Retire looks.
	quietPoll = 20 * time.Millisecond
)

// selfTests run commands through the shim that are no tasks.
type selfTests struct {
	*base
	tasks     *tasks
	reporting *reporting

	mu sync.Mutex
	// mu guards waiting: who waits for the end of a command, by its key.
	waiting map[string]chan<- shim.Ended
}

// run runs a command through the shim, as tasks are run, and returns why that did
// not work.
func (st *selfTests) run(ctx context.Context) error {
	path, err := program.Find("true", os.Getenv("PATH"), st.cfg.DataDir)
	if err != nil {
		return fmt.Errorf("self-test: %w", err)
	}
	key := testPrefix + rand.Text()
	ended := make(chan shim.Ended, 1)
	st.mu.Lock()
	st.waiting[key] = ended
	st.mu.Unlock()
	defer func() {
		st.mu.Lock()
		delete(st.waiting, key)
		st.mu.Unlock()
	}()
	st.tasks.mu.Lock()
	client := st.tasks.client
	st.tasks.mu.Unlock()
	if client == nil {
		return errors.New("self-test: not attached to the shim")
	}
	output := st.cfg.path("output", key)
	defer func() { _ = os.Remove(output) }() // perhaps it was never made
	spec := shim.Spec{
		Key: key, Path: path, Args: []string{path}, Env: os.Environ(), Dir: st.cfg.path("work"),
		Timeout: testTimeout, Grace: st.cfg.KillGrace, Output: output, OutputCap: 1 << 10,
	}
	if err := client.Start([]shim.Spec{spec}); err != nil {
		return fmt.Errorf("self-test: %w", err)
	}
	select {
	case x := <-ended:
		if x.Failure != "" {
			return fmt.Errorf("self-test: %s was not started: %s", path, x.Failure)
		}
		if x.Code != 0 {
			return fmt.Errorf("self-test: %s ended with code %d %s", path, x.Code, x.Signal)
		}
		return nil
	case <-ctx.Done():
		return fmt.Errorf("self-test: %s has not ended: %w", path, context.Cause(ctx))
	}
}

// tested passes the ends of self-tests to who waits for them, has the shim
// forget them, and returns the others.
func (st *selfTests) tested(client *shim.Client, list []shim.Ended) []shim.Ended {
	var keys []string
	st.mu.Lock()
	list = slices.DeleteFunc(list, func(x shim.Ended) bool {
		waits, ok := st.waiting[x.Key]
		if ok {
			keys = append(keys, x.Key)
			waits <- x // has room for the one end that there is
			delete(st.waiting, x.Key)
		}
		return ok
	})
	st.mu.Unlock()
	st.reporting.forget(client, keys)
	return list
}

// SelfTest runs a command through the shim, as tasks are run, and returns why
// that did not work. It leaves no trace: neither journal nor output has it. It
// works while Run does.
func (m *Minion) SelfTest(ctx context.Context) error { return m.tests.run(ctx) }

// Retire has the minion take no more orders from a moment on at which no task
// is between accepted and started, and none runs inside of this process. It
// returns then; the caller ends Run, and what the shim runs goes on. When ctx
// ends before there was such a moment it changes nothing and returns ctx's
// cause: what is accepted is durable, so Run may be ended then, too, and the
// next process starts it, if that is not too late.
func (m *Minion) Retire(ctx context.Context) error {
	tick := time.NewTicker(quietPoll)
	defer tick.Stop()
	for {
		if m.retire() {
			return nil
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-tick.C:
		}
	}
}

func (m *Minion) retire() bool {
	m.tasks.mu.Lock()
	defer m.tasks.mu.Unlock()
	for _, e := range m.tasks.journal.live {
		over := e.settling != nil || e.final != nil
		if !over && (e.phase < phaseRunning || e.stop != nil) {
			return false
		}
	}
	m.tasks.stopping = true
	return true
}
