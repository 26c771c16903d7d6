package clock

import (
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/carillon-cron/carillon/internal/boottime"
)

// Config says when a clock is wrong. Zero values stand for the defaults.
type Config struct {
	// Bound is how far a clock may be off the clock of most. Default 5 s.
	Bound time.Duration
	// Settle is how long a step must stand that nobody else can judge. Default 30 s.
	Settle time.Duration
}

// The defaults of Config.
const (
	DefaultBound  = 5 * time.Second
	DefaultSettle = 30 * time.Second
)

// Warn is how far a clock may be off before people are told; it works on.
const Warn = time.Second

// Step is the difference between the wall clock and the monotonic one that counts
// as a step.
const Step = 200 * time.Millisecond

// Deps are the machine's clocks; nil: its own. Awake is a monotonic clock that
// stands still while the machine is suspended, Mono one that does not. None may be
// read while a method of Clock is called by it.
type Deps struct {
	Wall  func() time.Time
	Mono  func() time.Duration
	Awake func() time.Duration
}

// State is what is known of the node's clock.
type State struct {
	// Judged: the clock has been judged once.
	Judged bool
	// Ahead is how far the own wall clock is ahead of the time that the node goes by.
	Ahead time.Duration
	// Nodes and Minions count the clocks that were compared. None: there is nothing
	// to compare with. Agree counts those of them that are within the bound of the
	// clock of most.
	Nodes, Minions, Agree int
	// Paired: the only other clock is a minion's. Apart is how far that is ahead of the
	// own one then, less the error. Nobody can tell which of two is right, so it is only
	// told. 0: they agree, or are not paired.
	Paired bool
	Apart  time.Duration
	// Wrong: it is off by more than the bound. Doubt: it has stepped by more than
	// the bound, and that was wrong as far as is known. In either case Why says so,
	// and the node must neither plan nor own.
	Wrong, Doubt bool
	Why          string
}

// Fit reports whether the node may plan by its clock.
func (s *State) Fit() bool { return s.Judged && !s.Wrong && !s.Doubt }

// Sure reports whether most of three clocks or more agree on the time.
func (s *State) Sure() bool { return s.Nodes+s.Minions >= 2 && s.Agree*2 > s.Nodes+s.Minions }

// Clock is the time by which a node works. It may be used by many goroutines.
type Clock struct {
	cfg  Config
	deps Deps

	// origin is that of the time that Now tells, on Mono; base is the same on Awake,
	// which costs less to read.
	origin, base atomic.Int64
	state        atomic.Pointer[State]
	// epoch counts how often the time was moved by more than the bound.
	epoch atomic.Int64

	mu sync.Mutex // guards what follows
	// last is what was read at the last look, seen what looks found since the clock
	// was judged last.
	last glance
	seen Seen
	// trusted is the own origin before the step that put it in doubt; since is when
	// it stepped last.
	trusted int64
	doubt   bool
	since   time.Duration
	// others are what was compared with last. known: what others said still holds,
	// who said it at heard, on Mono.
	others Others
	known  bool
	heard  time.Duration
}

// New returns a Clock that tells the wall clock's time.
func New(cfg Config, deps Deps) *Clock {
	if cfg.Bound == 0 {
		cfg.Bound = DefaultBound
	}
	if cfg.Settle == 0 {
		cfg.Settle = DefaultSettle
	}
	if deps.Wall == nil {
		deps.Wall = time.Now
	}
	if deps.Mono == nil {
		deps.Mono = boottime.Now
	}
	if deps.Awake == nil {
		begun := time.Now()
		deps.Awake = func() time.Duration { return time.Since(begun) }
	}
	c := &Clock{cfg: cfg, deps: deps}
	c.last = c.read()
	c.trusted = c.last.own
	c.origin.Store(c.last.own)
	c.base.Store(c.last.own + int64(c.last.stood))
	c.state.Store(&State{})
	return c
}

// Bound is how far the clock may be off the clock of most.
func (c *Clock) Bound() time.Duration { return c.cfg.Bound }

// Now returns the time in nanoseconds since the Unix epoch. After a suspend it is
// right from the next look on.
func (c *Clock) Now() int64 { return c.base.Load() + int64(c.deps.Awake()) }

// State returns what the last judgement came to.
func (c *Clock) State() State { return *c.state.Load() }

// Epoch changes when the time is moved by more than the bound: what was reckoned by
// the time before is to be reckoned anew.
func (c *Clock) Epoch() int64 { return c.epoch.Load() }

// Mono reads the monotonic clock that readings refer to.
func (c *Clock) Mono() time.Duration { return c.deps.Mono() }

// The clocks are read between two readings of the monotonic one. When these are
// further apart than readWithin, the goroutine was held up in between, and they are
// read again.
const (
	readWithin = 5 * time.Millisecond
	readTries  = 10
)

// glance is one reading of all clocks of the machine.
type glance struct {
	// own is the wall clock's origin, mono the monotonic time, stood for how long
	// the machine has been suspended, give or take a constant.
	own         int64
	mono, stood time.Duration
}

func (c *Clock) read() (g glance) {
	least := time.Duration(-1)
	for range readTries {
		before := c.deps.Mono()
		wall, awake := c.deps.Wall().UnixNano(), c.deps.Awake()
		after := c.deps.Mono()
		took := after - before
		if least < 0 || took < least {
			middle := before + took/2
			least, g = took, glance{wall - int64(middle), after, middle - awake}
		}
		if least <= readWithin {
			break
		}
	}
	return g
}

// Seen is what a look at the own clock found since the look before.
type Seen struct {
	// Stepped is by how much the wall clock has stepped, 0: not at all.
	Stepped time.Duration
	// Suspended is for how long the machine stood still.
	Suspended time.Duration
}

// Look compares the own wall clock with the monotonic ones. When it has stepped, it
// is judged anew by what is known of the others. When the machine has been
// suspended, that is worth nothing: the clock is not fit until it is judged.
func (c *Clock) Look() Seen {
	c.mu.Lock()
	defer c.mu.Unlock()
	g, seen := c.look()
	switch {
	case seen.Suspended > 0:
		s := *c.state.Load()
		s.Judged = false
		c.state.Store(&s)
	case seen.Stepped != 0:
		c.judge(g)
	}
	return seen
}

// Fit looks at the own clock and reports whether the node may plan by its time.
func (c *Clock) Fit() bool {
	c.Look()
	return c.state.Load().Fit()
}

func (c *Clock) look() (glance, Seen) {
	g := c.read()
	var seen Seen
	if by := time.Duration(g.own - c.last.own); by.Abs() > Step {
		seen.Stepped = by
		if time.Duration(g.own-c.trusted).Abs() > c.cfg.Bound {
			c.doubt, c.since = true, g.mono
		}
	}
	if by := g.stood - c.last.stood; by > Step {
		seen.Suspended = by
		c.base.Add(int64(by))
	}
	c.last = g
	c.seen.Stepped += seen.Stepped
	c.seen.Suspended += seen.Suspended
	return g, seen
}

// Judge takes what is known of the others' clocks now, and judges the own one. It
// returns besides what was seen of that since it was judged last.
func (c *Clock) Judge(others Others) (State, Seen) {
	c.mu.Lock()
	defer c.mu.Unlock()
	g, _ := c.look()
	seen := c.seen
	c.seen, c.others = Seen{}, others
	return c.judge(g), seen
}

// Witness reads the own wall clock for another node. It reports false when the
// clock is in doubt, and should not count (C5).
func (c *Clock) Witness() (wall int64, sure bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	g, seen := c.look()
	if seen.Stepped != 0 {
		c.judge(g)
	}
	return g.own + int64(g.mono), !c.doubt
}

func (c *Clock) judge(g glance) State {
	jury, nodes := c.others.jury(c.cfg.Bound)
	was := c.state.Load()
	s := State{Judged: true, Nodes: nodes, Minions: len(jury) - nodes}
	said := jury // by others, now or last
	if len(jury) > 0 {
		c.known, c.heard = true, g.mono
	} else if c.known && (!c.doubt || c.since <= c.heard) {
		said = []Reading{{Origin: c.origin.Load()}} // C6
	}
	open := c.doubt && c.settle(g, said)
	mine := Reading{Origin: g.own}
	if c.doubt {
		mine.Origin = c.trusted
	}
	m := most(append(slices.Clone(jury), mine))
	if len(jury) == 0 && len(said) > 0 {
		m = said[0]
	}
	s.Agree = agree(jury, m, c.cfg.Bound)
	if len(jury) == 0 {
		s.Apart, s.Paired = c.others.apart(g.own, c.cfg.Bound)
	}
	limit := c.cfg.Bound
	if was.Wrong {
		limit /= 2
	}
	to := c.origin.Load()
	switch {
	case c.doubt:
		s.Doubt = true
		if len(said) > 0 && !open {
			to = toward(c.trusted, m)
		}
	case len(said) > 0 && off(g.own, m) > limit:
		s.Wrong, to = true, m.Origin
	case len(said) == 0, len(jury) == 0 && g.mono-c.heard >= c.cfg.Settle:
		to, c.trusted, c.known = g.own, g.own, false
	default:
		to, c.trusted = toward(g.own, m), g.own
	}
	s.Ahead = time.Duration(g.own - to)
	s.Why = c.why(&s, time.Duration(g.own-c.trusted), open, g.mono)
	c.base.Store(to + int64(g.stood))
	if old := c.origin.Swap(to); time.Duration(to-old).Abs() > c.cfg.Bound {
		c.epoch.Add(1)
	}
	c.state.Store(&s)
	return s
}

// settle finds out whether a step was right (C4), and ends the doubt if so. It
// reports whether nobody can say.
func (c *Clock) settle(g glance, jury []Reading) (open bool) {
	near := func(origin int64, r Reading) bool { return off(origin, r) <= c.cfg.Bound/2 }
	if len(jury) == 0 { // one minion alone is better than nobody
		jury = within(c.others.Minions, c.cfg.Bound)
	}
	switch {
	case near(g.own, Reading{Origin: c.trusted}): // it has stepped back
		c.doubt = false
	case len(jury) > 0 && near(g.own, most(jury)):
		c.doubt = false
	case len(jury) > 0 && near(c.trusted, most(jury)):
	case len(jury) > 1: // most of several say what time it is, whatever ours was
		c.doubt = false
	case g.mono-c.since >= c.cfg.Settle:
		c.doubt = false
	default:
		return true
	}
	return false
}

// why says why the clock is not fit. Empty: it is.
func (c *Clock) why(s *State, step time.Duration, open bool, mono time.Duration) string {
	switch {
	case open:
		return fmt.Sprintf("its clock has stepped by %s, and nobody can say whether that was right: that is believed if it stands for %s more",
			about(step), about(c.cfg.Settle-(mono-c.since)))
	case s.Doubt:
		return fmt.Sprintf("its clock has stepped by %s, which is against %s", about(step), s.whom())
	case s.Wrong && s.Ahead > 0:
		return fmt.Sprintf("its clock is %s ahead of the clock of most, by %s", about(s.Ahead), s.whom())
	case s.Wrong:
		return fmt.Sprintf("its clock is %s behind the clock of most, by %s", about(-s.Ahead), s.whom())
	}
	return ""
}

// whom says whose clocks were compared.
func (s *State) whom() string {
	count := func(n int, what string) string {
		if n == 1 {
			return "1 " + what
		}
		return fmt.Sprintf("%d %ss", n, what)
	}
	switch {
	case s.Nodes == 0 && s.Minions == 0:
		return "others, of whom none can be asked now"
	case s.Minions == 0:
		return count(s.Nodes, "other node")
	case s.Nodes == 0:
		return count(s.Minions, "minion")
	}
	return count(s.Nodes, "other node") + " and " + count(s.Minions, "minion")
}

// about rounds a duration for people.
func about(d time.Duration) time.Duration {
	switch a := d.Abs(); {
	case a >= 10*time.Second:
		return d.Round(time.Second)
	case a >= time.Second:
		return d.Round(100 * time.Millisecond)
	}
	return d.Round(time.Millisecond)
}
