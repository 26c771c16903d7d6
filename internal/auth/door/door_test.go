package door

import (
	"errors"
	"net"
	"net/netip"
	"testing"
	"testing/synctest"
	"time"

	"github.com/carillon-cron/carillon/internal/auth"
)

// conn is a connection from an address; it can be closed and read.
type conn struct {
	net.Conn

	from   string
	closed chan struct{}
}

func newConn(from string) *conn { return &conn{from: from, closed: make(chan struct{})} }

func (c *conn) RemoteAddr() net.Addr { return net.TCPAddrFromAddrPort(netip.MustParseAddrPort(c.from)) }
func (c *conn) Read([]byte) (int, error) {
	return 1, nil
}

func (c *conn) Close() error {
	if c.open() {
		close(c.closed)
	}
	return nil
}

func (c *conn) open() bool {
	select {
	case <-c.closed:
		return false
	default:
		return true
	}
}

func newDoor(t *testing.T, cfg Config, deps Deps) *Door {
	t.Helper()
	d, err := New(cfg, deps)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// enter returns the connection, nil where it was refused.
func enter(d *Door, from string) (*visit, *conn) {
	c := newConn(from)
	return d.enter(c), c
}

func TestD1_StrangersOfOneAddressAreBounded(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		d := newDoor(t, Config{Strangers: 8, PerAddress: 2}, Deps{})
		for i, from := range []string{"[2001:db8::1]:1", "[2001:db8::2]:1"} {
			if v, _ := enter(d, from); v == nil {
				t.Fatalf("stranger %d was refused", i)
			}
		}
		time.Sleep(20 * time.Millisecond) // there is one more by the rate
		if v, _ := enter(d, "[2001:db8::3]:1"); v != nil {
			t.Error("a third one of the same network was let in")
		}
		if v, _ := enter(d, "[2001:db8:0:1::3]:1"); v == nil {
			t.Error("one of another network was refused")
		}
	})
}

func TestD2_ANewcomerTakesTheSilentsPlace(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		d := newDoor(t, Config{Strangers: 3, PerAddress: 2}, Deps{})
		talks, _ := enter(d, "192.0.2.1:1")
		_, silent := enter(d, "192.0.2.1:2")
		busy, _ := enter(d, "192.0.2.9:1")
		d.Busy(busy, true)
		time.Sleep(2 * time.Second)
		if _, err := talks.Read(nil); err != nil {
			t.Fatal(err)
		}
		// At the bound in all, the address that has the most gives a place.
		v, _ := enter(d, "192.0.2.7:1")
		if v == nil || silent.open() {
			t.Errorf("the newcomer was refused: %v, or the silent one has kept its place: %v", v == nil, silent.open())
		}
		if v, _ := enter(d, "192.0.2.8:1"); v != nil {
			t.Error("one was let in though everybody talks")
		}
		if d.strangers != 3 {
			t.Errorf("%d strangers are in, want 3", d.strangers)
		}
	})
}

func TestD3_AStrangersConnectionEnds(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		d := newDoor(t, Config{Strangers: 3, Life: 10 * time.Second, Members: 3}, Deps{})
		_, stranger := enter(d, "192.0.2.1:1")
		v, minion := enter(d, "192.0.2.2:1")
		if err := d.Showed(v, auth.Identity{Kind: auth.KindMinion, Name: "m1"}); err != nil {
			t.Fatal(err)
		}
		time.Sleep(11 * time.Second)
		synctest.Wait()
		if stranger.open() || !minion.open() {
			t.Errorf("the stranger is in: %v; the minion is in: %v", stranger.open(), minion.open())
		}
		if d.strangers != 0 || d.count != 1 {
			t.Errorf("%d strangers and %d members are counted, want 0 and 1", d.strangers, d.count)
		}
	})
}

func TestD4_MembersAreBoundedByThemselves(t *testing.T) {
	t.Parallel()
	d := newDoor(t, Config{Strangers: 2, PerAddress: 2, Members: 3, PerMinion: 2}, Deps{})
	var first *conn
	for i, name := range []string{"m1", "m1", "m1", "m2"} {
		v, c := enter(d, "192.0.2.1:1")
		if v == nil {
			t.Fatalf("connection %d was refused", i)
		}
		if i == 0 {
			first = c
		}
		if err := d.Showed(v, auth.Identity{Kind: auth.KindMinion, Name: name}); err != nil {
			t.Fatalf("connection %d: %v", i, err)
		}
	}
	if first.open() {
		t.Error("a minion has three connections")
	}
	v, _ := enter(d, "192.0.2.1:1")
	if err := d.Showed(v, auth.Identity{Kind: auth.KindMinion, Name: "m3"}); !errors.Is(err, ErrFull) {
		t.Errorf("a fourth connection of members: %v", err)
	}
}

func TestD5_WhoShowsACertificateDoesNotCount(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		d := newDoor(t, Config{Strangers: 20, PerAddress: 4, PerSecond: 1}, Deps{})
		for range 100 {
			v, _ := enter(d, "192.0.2.1:1")
			if v == nil {
				t.Fatal("a minion was refused")
			}
			if err := d.Showed(v, auth.Identity{Kind: auth.KindMinion, Name: "m1"}); err != nil {
				t.Fatal(err)
			}
		}
		let := 0
		for range 100 {
			if v, _ := enter(d, "192.0.2.1:1"); v != nil {
				let++
				_ = v.Close()
			}
		}
		if let != 4 {
			t.Errorf("%d strangers were let in at once, want 4", let)
		}
		time.Sleep(2 * time.Second)
		if v, _ := enter(d, "192.0.2.1:1"); v == nil {
			t.Error("a stranger was refused two seconds later")
		}
	})
}

func TestD6_EndClosesAllOfAnIdentity(t *testing.T) {
	t.Parallel()
	now := time.Unix(1000, 0)
	revoked := false
	d := newDoor(t, Config{Strangers: 4}, Deps{Revoked: func(id auth.Identity) bool { return revoked && !id.IssuedAt.After(now) }})
	old, other := auth.Identity{Kind: auth.KindMinion, Name: "m1", IssuedAt: now}, auth.Identity{Kind: auth.KindNode, Name: "m1", IssuedAt: now}
	anew := auth.Identity{Kind: auth.KindMinion, Name: "m1", IssuedAt: now.Add(time.Second)}
	conns := map[auth.Identity]*conn{}
	for _, id := range []auth.Identity{old, other, anew} {
		v, c := enter(d, "192.0.2.1:1")
		conns[id] = c
		if err := d.Showed(v, id); err != nil {
			t.Fatal(err)
		}
	}
	late, _ := enter(d, "192.0.2.1:1")
	revoked = true
	if n := d.End(auth.KindMinion, "m1", d.deps.Revoked); n != 1 || conns[old].open() || !conns[other].open() || !conns[anew].open() {
		t.Errorf("%d connections were closed; open are old %v, node %v, new %v", n, conns[old].open(), conns[other].open(), conns[anew].open())
	}
	if err := d.Showed(late, old); !errors.Is(err, auth.ErrRevoked) {
		t.Errorf("one that was in its handshake: %v", err)
	}
}

// Under a flood from many addresses, what is remembered of them is bounded.
func TestD7_WhoSendsByteByByteIsSilent(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		d := newDoor(t, Config{Strangers: 2, PerAddress: 2, Whole: true}, Deps{})
		slow, slowConn := enter(d, "192.0.2.1:1")
		asks, asksConn := enter(d, "192.0.2.1:2")
		d.Busy(asks, true)
		time.Sleep(2 * time.Second)
		if _, err := slow.Read(nil); err != nil {
			t.Fatal(err)
		}
		if v, _ := enter(d, "192.0.2.1:3"); v == nil || slowConn.open() || !asksConn.open() {
			t.Errorf("the newcomer was refused: %v; the slow one is in: %v; the one that asks is in: %v", v == nil, slowConn.open(), asksConn.open())
		}
	})
}

// A connection may have several requests at a time: it is silent once all of them
// have been answered.
func TestD8_ABusyConnectionIsNotPutOut(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		d := newDoor(t, Config{Strangers: 1, PerAddress: 1, Whole: true}, Deps{})
		asks, conn := enter(d, "192.0.2.1:1")
		d.Busy(asks, true)
		d.Busy(asks, true)
		d.Busy(asks, false)
		time.Sleep(2 * time.Second)
		if v, _ := enter(d, "192.0.2.1:2"); v != nil || !conn.open() {
			t.Error("it was put out while one of its requests was answered")
		}
		d.Busy(asks, false)
		time.Sleep(2 * time.Second)
		if v, _ := enter(d, "192.0.2.1:3"); v == nil || conn.open() {
			t.Error("all its requests have been answered, and it keeps its place")
		}
	})
}

func TestAddressesAreForgotten(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		d := newDoor(t, Config{Strangers: 10}, Deps{})
		for i := range 3 * remembered {
			if v, _ := enter(d, netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)}), 1).String()); v != nil {
				_ = v.Close()
			}
		}
		if len(d.addresses) > remembered+d.cfg.Strangers {
			t.Errorf("%d addresses are remembered", len(d.addresses))
		}
	})
}
