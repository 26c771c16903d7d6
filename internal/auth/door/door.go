package door

import (
	"container/list"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"
	"golang.org/x/time/rate"

	"github.com/carillon-cron/carillon/internal/auth"
)

// ErrFull is why a connection is refused.
var ErrFull = errors.New("as many connections as this node may hold")

// Config is the bounds of a Door. Strangers must be given; for the others 0
// stands for the default.
type Config struct {
	// Name is the port, for logs and metrics.
	Name string
	// Strangers is how many connections of strangers there may be in all, and
	// PerAddress from one address. Default of PerAddress: a quarter of them.
	Strangers  int
	PerAddress int
	// PerSecond is how many new strangers of one address are let in, after a
	// burst of PerAddress. Default 100.
	PerSecond int
	// Grace is how long a stranger that says nothing keeps its place when
	// another one wants it. Default 1 s.
	Grace time.Duration
	// Whole: what comes counts as said when it is a whole request, which Busy
	// tells; else every byte counts.
	Whole bool
	// Life is how long a stranger's connection may last. Default: as long as
	// it likes.
	Life time.Duration
	// Members is how many connections there may be of those that have shown a
	// certificate. Default: as many as come. PerMinion is how many of one
	// minion. Default 8.
	Members   int
	PerMinion int
}

// Deps is what a Door works with; all may be nil.
type Deps struct {
	Logger  *zap.Logger
	Metrics prometheus.Registerer
	// Revoked reports whether a certificate was revoked.
	Revoked func(auth.Identity) bool
}

// Door bounds the connections of one port. Its methods may be called by many
// goroutines.
type Door struct {
	cfg     Config
	deps    Deps
	now     func() time.Time
	refused *prometheus.CounterVec
	notes   *rate.Limiter

	mu sync.Mutex
	// mu guards what follows.

	strangers int
	addresses map[netip.Prefix]*address
	members   map[member]*list.List // of *visit, the oldest first
	count     int                   // of members' connections
}

// member is who holds a certificate, whichever of its certificates it is.
type member struct {
	kind auth.Kind
	name string
}

// address is one address of strangers.
type address struct {
	visits *list.List // of *visit, the oldest first
	// tokens are how many more strangers may come at once, as of when.
	tokens float64
	when   time.Time
}

// New returns a Door.
func New(cfg Config, deps Deps) (*Door, error) {
	if cfg.Strangers <= 0 {
		return nil, fmt.Errorf("door %s: %d strangers may connect; give 1 or more", cfg.Name, cfg.Strangers)
	}
	def := func(n *int, v int) {
		if *n <= 0 {
			*n = v
		}
	}
	def(&cfg.PerAddress, max(cfg.Strangers/4, 1))
	def(&cfg.PerSecond, 100)
	def(&cfg.PerMinion, 8)
	if cfg.Grace <= 0 {
		cfg.Grace = time.Second
	}
	if deps.Logger == nil {
		deps.Logger = zap.NewNop()
	}
	d := &Door{
		cfg: cfg, deps: deps, now: time.Now, notes: rate.NewLimiter(1, 5), addresses: map[netip.Prefix]*address{}, members: map[member]*list.List{},
		refused: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "carillon_door_closed_total", Help: "Connections that were refused or closed for a bound, by the bound.",
			ConstLabels: prometheus.Labels{"port": cfg.Name},
		}, []string{"bound"}),
	}
	if deps.Metrics == nil {
		return d, nil
	}
	open := func(who string, n *int) prometheus.Collector {
		return prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "carillon_door_connections", Help: "Open connections of strangers, and of those that have shown a certificate.",
			ConstLabels: prometheus.Labels{"port": cfg.Name, "who": who},
		}, func() float64 {
			d.mu.Lock()
			defer d.mu.Unlock()
			return float64(*n)
		})
	}
	for _, c := range []prometheus.Collector{d.refused, open("strangers", &d.strangers), open("members", &d.count)} {
		if err := deps.Metrics.Register(c); err != nil {
			return nil, fmt.Errorf("door %s: metrics: %w", cfg.Name, err)
		}
	}
	return d, nil
}

// Listen returns a listener whose connections are bounded. Closing it closes l.
func (d *Door) Listen(l net.Listener) net.Listener { return &listener{Listener: l, door: d} }

type listener struct {
	net.Listener

	door *Door
}

// Accept returns the next connection that is let in.
func (l *listener) Accept() (net.Conn, error) {
	for {
		conn, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		if v := l.door.enter(conn); v != nil {
			return v, nil
		}
		_ = conn.Close() // it is refused either way
	}
}

// visit is a connection.
type visit struct {
	net.Conn

	door *Door
	from netip.Prefix
	// heard is when the client has said something, in nanoseconds.
	heard atomic.Int64
	// busy is how many requests are answered; while there are any, its place cannot
	// be taken.
	busy atomic.Int64

	// The Door's mutex guards what follows.

	in   *list.List // where it is; nil once it has left
	at   *list.Element
	who  member // zero: a stranger
	id   auth.Identity
	life *time.Timer
}

// enter lets a connection in as a stranger's. It returns nil where it may not.
func (d *Door) enter(conn net.Conn) *visit {
	v := &visit{Conn: conn, door: d, from: prefixOf(conn.RemoteAddr())}
	now := d.now()
	v.heard.Store(now.UnixNano())
	d.mu.Lock()
	a := d.address(v.from, now)
	leaver, bound := d.place(a, now)
	if bound != "" && leaver == nil {
		d.forget(v.from, a)
		d.mu.Unlock()
		d.note(bound, v.from)
		return nil
	}
	if leaver != nil {
		d.remove(leaver)
	}
	a.tokens--
	v.in, v.at = a.visits, a.visits.PushBack(v)
	d.addresses[v.from] = a // it may have been forgotten with who left
	d.strangers++
	if d.cfg.Life > 0 {
		v.life = time.AfterFunc(d.cfg.Life, func() { _ = v.Close() })
	}
	d.mu.Unlock()
	if leaver != nil {
		d.note(bound, leaver.from)
		_ = leaver.Conn.Close() // it has lost its place either way
	}
	return v
}

// place finds out which bound a newcomer meets, if any, and who has to leave for
// it. The caller holds mu.
func (d *Door) place(a *address, now time.Time) (leaver *visit, bound string) {
	switch {
	case a.tokens < 1:
		return nil, "rate"
	case a.visits.Len() >= d.cfg.PerAddress:
		return d.silent(a, now), "address"
	case d.strangers >= d.cfg.Strangers:
		most := a
		for _, other := range d.addresses {
			if other.visits.Len() > most.visits.Len() {
				most = other
			}
		}
		return d.silent(most, now), "all"
	}
	return nil, ""
}

// looks bounds how many of an address's strangers are looked at to find one that
// may be put out.
const looks = 64

// silent returns a stranger of an address that has said nothing for the grace,
// nil if none is found. The caller holds mu.
func (d *Door) silent(a *address, now time.Time) *visit {
	before := now.Add(-d.cfg.Grace).UnixNano()
	for e, n := a.visits.Front(), 0; e != nil && n < looks; n++ {
		v := e.Value.(*visit)
		if v.busy.Load() == 0 && v.heard.Load() <= before {
			return v
		}
		// The next ones are to be looked at the next time.
		next := e.Next()
		a.visits.MoveToBack(e)
		e = next
	}
	return nil
}

// address returns what is known of an address, with its tokens as of now. The
// caller holds mu.
func (d *Door) address(p netip.Prefix, now time.Time) *address {
	a := d.addresses[p]
	if a == nil {
		d.sweep(now)
		a = &address{visits: list.New(), tokens: float64(d.cfg.PerAddress), when: now}
		d.addresses[p] = a
	}
	a.fill(d.cfg, now)
	return a
}

func (a *address) fill(cfg Config, now time.Time) {
	a.tokens = min(float64(cfg.PerAddress), a.tokens+now.Sub(a.when).Seconds()*float64(cfg.PerSecond))
	a.when = now
}

// remembered is how many addresses without connections are remembered.
const remembered = 4096

// sweep forgets addresses of which nothing is left to remember, or of all that
// have no connection where there are too many. The caller holds mu.
func (d *Door) sweep(now time.Time) {
	if len(d.addresses) < remembered+d.cfg.Strangers {
		return
	}
	for p, a := range d.addresses {
		a.fill(d.cfg, now)
		d.forget(p, a)
	}
	if len(d.addresses) < remembered+d.cfg.Strangers {
		return
	}
	for p, a := range d.addresses {
		if a.visits.Len() == 0 {
			delete(d.addresses, p)
		}
	}
}

// forget drops an address of which nothing has to be remembered. The caller
// holds mu.
func (d *Door) forget(p netip.Prefix, a *address) {
	if a.visits.Len() == 0 && a.tokens >= float64(d.cfg.PerAddress) {
		delete(d.addresses, p)
	}
}

// Showed makes a connection a member's: its client has shown a certificate. The
// error is auth.ErrRevoked or ErrFull, and the caller closes the connection.
// A connection that did not come through the door is left alone.
func (d *Door) Showed(conn net.Conn, id auth.Identity) error {
	v, ok := conn.(*visit)
	if !ok || v.door != d || id == (auth.Identity{}) {
		return nil
	}
	var oldest *visit
	d.mu.Lock()
	switch {
	case v.in == nil:
		d.mu.Unlock()
		return net.ErrClosed
	case d.cfg.Members > 0 && d.count >= d.cfg.Members:
		d.mu.Unlock()
		d.note("members", v.from)
		return fmt.Errorf("%w: %d; raise the limit of open files", ErrFull, d.cfg.Members)
	}
	d.leaveAddress(v)
	if a := d.addresses[v.from]; a != nil { // D5
		a.tokens = min(a.tokens+1, float64(d.cfg.PerAddress))
		d.forget(v.from, a)
	}
	v.who, v.id = member{id.Kind, id.Name}, id
	l := d.members[v.who]
	if l == nil {
		l = list.New()
		d.members[v.who] = l
	}
	if id.Kind == auth.KindMinion && l.Len() >= d.cfg.PerMinion {
		oldest = l.Front().Value.(*visit)
		d.remove(oldest)
		d.members[v.who] = l // it may have been the last one
	}
	v.in, v.at = l, l.PushBack(v)
	d.count++
	d.mu.Unlock()
	if oldest != nil {
		d.note("minion", oldest.from)
		_ = oldest.Conn.Close() // it has lost its place either way
	}
	// End finds the connection from here on; before, it did not.
	if d.deps.Revoked != nil && d.deps.Revoked(id) {
		return auth.ErrRevoked
	}
	return nil
}

// Busy says that a request is answered now that has come as a whole, or that one has
// been answered. While there are any, the place of their connection is not taken.
// Each call with true is followed by one with false.
func (d *Door) Busy(conn net.Conn, busy bool) {
	if v, ok := conn.(*visit); ok {
		v.heard.Store(d.now().UnixNano())
		if busy {
			v.busy.Add(1)
		} else {
			v.busy.Add(-1)
		}
	}
}

// End closes the connections of a kind and name whose certificate matches, and
// returns how many there were.
func (d *Door) End(kind auth.Kind, name string, match func(auth.Identity) bool) int {
	var ended []*visit
	d.mu.Lock()
	if l := d.members[member{kind, name}]; l != nil {
		for e := l.Front(); e != nil; e = e.Next() {
			if v := e.Value.(*visit); match(v.id) {
				ended = append(ended, v)
			}
		}
	}
	d.mu.Unlock()
	for _, v := range ended {
		_ = v.Close() // it is gone either way
	}
	return len(ended)
}

// leaveAddress takes a stranger from its address. The caller holds mu.
func (d *Door) leaveAddress(v *visit) {
	v.in.Remove(v.at)
	v.in, v.at = nil, nil
	d.strangers--
	if v.life != nil {
		v.life.Stop()
	}
}

// remove takes a connection out, if it is in. The caller holds mu.
func (d *Door) remove(v *visit) {
	switch {
	case v.in == nil:
		return
	case v.who == member{}:
		d.leaveAddress(v)
		if a := d.addresses[v.from]; a != nil {
			d.forget(v.from, a)
		}
		return
	}
	v.in.Remove(v.at)
	if v.in.Len() == 0 {
		delete(d.members, v.who)
	}
	v.in, v.at = nil, nil
	d.count--
}

// note counts and now and then logs that a bound was met.
func (d *Door) note(bound string, from netip.Prefix) {
	d.refused.WithLabelValues(bound).Inc()
	if d.notes.Allow() {
		d.deps.Logger.Warn("connections are refused or closed at a bound", zap.String("port", d.cfg.Name), zap.String("bound", bound), zap.Stringer("from", from))
	}
}

func (v *visit) Read(p []byte) (int, error) {
	n, err := v.Conn.Read(p)
	if n > 0 && !v.door.cfg.Whole {
		v.heard.Store(v.door.now().UnixNano())
	}
	return n, err
}

func (v *visit) Close() error {
	v.door.mu.Lock()
	v.door.remove(v)
	v.door.mu.Unlock()
	return v.Conn.Close()
}

// SyscallConn gives servers access to the socket's options, and to who is at its
// other end.
func (v *visit) SyscallConn() (syscall.RawConn, error) {
	s, ok := v.Conn.(syscall.Conn)
	if !ok {
		return nil, fmt.Errorf("%T has no socket", v.Conn)
	}
	return s.SyscallConn()
}

// prefixOf returns the address that counts as one; the zero Prefix where there
// is none, as for a socket of this host.
func prefixOf(addr net.Addr) netip.Prefix {
	tcp, ok := addr.(*net.TCPAddr)
	if !ok {
		return netip.Prefix{}
	}
	ip := tcp.AddrPort().Addr().Unmap()
	bits := ip.BitLen()
	if ip.Is6() {
		bits = 64
	}
	p, err := ip.WithZone("").Prefix(bits)
	if err != nil {
		return netip.Prefix{}
	}
	return p
}
