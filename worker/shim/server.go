package shim

import (
	"bufio"
	"crypto/rand"
	"errors"
	"log"
	"maps"
	"net"
	"os"
	"os/signal"
	"slices"
	"sync"
	"syscall"
	"time"
)

// prSetChildSubreaper is PR_SET_CHILD_SUBREAPER of prctl(2).
const prSetChildSubreaper = 36

// firstWait is the least time that a shim gives its first agent to come.
const firstWait = 10 * time.Second

// server is the shim's inside.
type server struct {
	idle     time.Duration
	instance string
	spawner  *spawner
	exits    *exitLog
	// wake tells the writer of the present connection that there is news.
	wake chan struct{}
	// changed tells the main loop that a task ended or an agent left.
	changed chan struct{}

	mu sync.Mutex
	// mu guards the following.
	tasks    map[string]*process // nil while it is being started
	ended    map[string]Ended    // durable, not forgotten
	news     Event               // not told yet
	attached bool
	leaving  bool
	stopping bool
}

// serve runs the shim on a listener until it has neither task nor agent for
// the idle time, or is told to stop.
func serve(l *net.UnixListener, idle time.Duration) error {
	exits, info, err := openExitLog("exits")
	if err != nil {
		return err
	}
	if info.Damaged > 0 {
		log.Printf("exit log: %d bytes could not be read", info.Damaged)
	}
	if _, _, errno := syscall.Syscall(syscall.SYS_PRCTL, prSetChildSubreaper, 1, 0); errno != 0 {
		return os.NewSyscallError("prctl(PR_SET_CHILD_SUBREAPER)", errno)
	}
	syscall.Umask(0o022)
	s := &server{
		idle: idle, instance: rand.Text(), exits: exits,
		wake: make(chan struct{}, 1), changed: make(chan struct{}, 1),
		tasks: map[string]*process{}, ended: map[string]Ended{},
	}
	for k, e := range exits.kept {
		s.ended[k] = e
	}
	starts, err := newStartLog(s.instance, s.known)
	if err != nil {
		return err
	}
	if s.spawner, err = newSpawner(starts); err != nil {
		return err
	}
	go s.spawner.run()
	go s.accept(l)
	s.loop()
	_ = l.Close() // takes the socket away
	return exits.close()
}

// loop reaps and handles signals until there is no reason to live.
func (s *server) loop() {
	child := make(chan os.Signal, 1)
	signal.Notify(child, syscall.SIGCHLD)
	stop := make(chan os.Signal, 1)
	signal.Notify(stop, syscall.SIGTERM, syscall.SIGINT, syscall.SIGHUP)
	timer := time.NewTimer(max(s.idle, firstWait))
	for {
		select {
		case <-child:
			s.spawner.reap()
		case sig := <-stop:
			if sig != syscall.SIGHUP {
				log.Printf("%v: ending all commands", sig)
				s.stopAll()
			}
		case <-s.changed:
			timer.Reset(s.idle)
		case <-timer.C:
			if s.idling() {
				return
			}
			timer.Reset(s.idle)
			continue
		}
		if s.finished() {
			return
		}
	}
}

// idling reports whether there is neither task nor agent.
func (s *server) idling() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.tasks) == 0 && !s.attached
}

// finished reports whether the shim was told to go and can.
func (s *server) finished() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.tasks) == 0 && (s.stopping || s.leaving && !s.attached)
}

// known returns the keys of all commands that have not been forgotten.
func (s *server) known() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.AppendSeq(slices.Collect(maps.Keys(s.tasks)), maps.Keys(s.ended))
}

func (s *server) stopAll() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.stopping = true
	for _, p := range s.tasks {
		if p != nil {
			p.ask(Kill{})
		}
	}
}

func notify(ch chan struct{}) {
	select {
	case ch <- struct{}{}:
	default:
	}
}

// accept serves one agent after the other (I3).
func (s *server) accept(l *net.UnixListener) {
	for {
		conn, err := l.Accept()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			log.Printf("accept: %v", err)
			time.Sleep(100 * time.Millisecond)
			continue
		}
		s.attend(conn)
	}
}

// attend serves one agent until its connection ends.
func (s *server) attend(conn net.Conn) {
	s.mu.Lock()
	s.attached, s.leaving = true, false
	hello := &Hello{Instance: s.instance, PID: os.Getpid(), Masks: true}
	for _, p := range s.tasks {
		if p != nil {
			hello.Running = append(hello.Running, p.started())
		}
	}
	for _, e := range s.ended {
		hello.Ended = append(hello.Ended, e)
	}
	s.news = Event{}
	s.mu.Unlock()

	gone := make(chan struct{})
	var writer sync.WaitGroup
	writer.Go(func() {
		err := writeFrame(conn, Event{Hello: hello})
		for err == nil {
			select {
			case <-gone:
				return
			case <-s.wake:
			}
			s.mu.Lock()
			news := s.news
			s.news = Event{}
			s.mu.Unlock()
			if len(news.Started)+len(news.Ended) > 0 {
				err = writeFrame(conn, news)
			}
		}
		_ = conn.Close()
	})
	r := bufio.NewReaderSize(conn, 64<<10)
	for {
		var q request
		if err := readFrame(r, &q); err != nil {
			break
		}
		s.handle(&q)
	}
	close(gone)
	_ = conn.Close()
	writer.Wait()
	s.mu.Lock()
	s.attached = false
	s.mu.Unlock()
	notify(s.changed)
}

func (s *server) handle(q *request) {
	for _, spec := range q.Start {
		s.start(spec)
	}
	s.mu.Lock()
	for _, k := range q.Kill {
		if p := s.tasks[k.Key]; p != nil {
			p.ask(k)
		}
	}
	for _, k := range q.Forget {
		delete(s.ended, k)
	}
	s.leaving = s.leaving || q.Leave
	s.mu.Unlock()
	if len(q.Forget) > 0 {
		if err := s.exits.forget(q.Forget); err != nil {
			log.Printf("exit log: %v", err)
		}
	}
}

// start starts a command, unless its key is known (I1), and returns once it
// runs or cannot.
func (s *server) start(spec Spec) {
	s.mu.Lock()
	_, running := s.tasks[spec.Key]
	_, ended := s.ended[spec.Key]
	if running || ended {
		s.mu.Unlock()
		return
	}
	s.tasks[spec.Key] = nil
	stopping := s.stopping
	s.mu.Unlock()

	if stopping {
		go s.finish(Ended{Key: spec.Key, Failure: "the supervising process is being stopped", EndedAt: time.Now().UnixNano()})
		return
	}
	done := make(chan struct{})
	s.spawner.specs <- birth{spec: spec, done: func(p *process, err error) {
		defer close(done)
		if err != nil {
			go s.finish(Ended{Key: spec.Key, Failure: err.Error(), Late: errors.Is(err, errLate), EndedAt: time.Now().UnixNano()})
			return
		}
		s.mu.Lock()
		s.tasks[spec.Key] = p
		s.news.Started = append(s.news.Started, p.started())
		if s.stopping {
			p.ask(Kill{})
		}
		s.mu.Unlock()
		notify(s.wake)
		go s.supervise(p)
	}}
	<-done
}

func (p *process) started() Started {
	return Started{Key: p.spec.Key, PID: p.pid, Ticks: p.ticks, At: p.at.UnixNano()}
}

// ask asks for the end of the command; the first one who asks is the cause.
func (p *process) ask(k Kill) {
	select {
	case p.stop <- k:
	default:
	}
}

// supervise waits for the command's end, or brings it about.
func (s *server) supervise(p *process) {
	var late <-chan time.Time
	if p.spec.Timeout > 0 {
		t := time.NewTimer(p.spec.Timeout - time.Since(p.at))
		defer t.Stop()
		late = t.C
	}
	var why Cause
	var kill Kill
	select {
	case <-p.exited:
	case <-late:
		why = CauseTimeout
		s.spawner.end(p)
	case kill = <-p.stop:
		why = CauseKill
		if kill.Key == "" {
			why = CauseStop
		}
		s.spawner.end(p)
	}
	s.finish(p.collect(kill, why))
}

// finish makes the exit record durable, then tells the agent (I2).
func (s *server) finish(e Ended) {
	if err := s.exits.add(e); err != nil {
		// The record lives in memory then; the agent still hears of it.
		log.Printf("exit log: %v", err)
	}
	s.mu.Lock()
	delete(s.tasks, e.Key)
	s.ended[e.Key] = e
	s.news.Ended = append(s.news.Ended, e)
	s.mu.Unlock()
	notify(s.wake)
	notify(s.changed)
}
