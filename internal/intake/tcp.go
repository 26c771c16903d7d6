package intake

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"sync"
	"time"

	"github.com/carillon-cron/carillon/job"
	"github.com/carillon-cron/carillon/plan"
)

const (
	// maxConns is how many connections there are at once, maxConnsOf how many of one address,
	// pieceWait how long each piece of a document may take, and connWait all of a connection.
	maxConns   = 32
	maxConnsOf = 16
	pieceWait  = 30 * time.Second
	connWait   = time.Hour
	// paceGrace is how long the other side may be waited for in all, whatever it sends or
	// takes, and paceRate how many bytes a second of further waiting are worth.
	paceGrace = 30 * time.Second
	paceRate  = 8 << 10
)

// TLS are the files of a listener that is not on loopback: its certificate and key, and the
// authorities of those who may connect.
type TLS struct{ Cert, Key, ClientCA string }

// Listen listens for documents over TCP. An address that other hosts reach needs TLS.
func Listen(ctx context.Context, addr string, t TLS) (net.Listener, error) {
	given := t.Cert != "" || t.Key != "" || t.ClientCA != ""
	if given && (t.Cert == "" || t.Key == "" || t.ClientCA == "") {
		return nil, errors.New("give a certificate, its key, and the authorities of those who may connect, all three")
	}
	var lc net.ListenConfig
	l, err := lc.Listen(ctx, "tcp", addr)
	if err != nil {
		return nil, err
	}
	if tcp, ok := l.Addr().(*net.TCPAddr); !given && (!ok || !tcp.IP.IsLoopback()) {
		_ = l.Close()
		return nil, fmt.Errorf("%s is reached by other hosts, and whoever connects sends plans with your rights: give a certificate, its key, and the authorities of those who may connect, or listen on 127.0.0.1", addr)
	}
	if !given {
		return l, nil
	}
	conf, err := t.config()
	if err != nil {
		_ = l.Close()
		return nil, err
	}
	return tls.NewListener(l, conf), nil
}

func (t TLS) config() (*tls.Config, error) {
	cert, err := tls.LoadX509KeyPair(t.Cert, t.Key)
	if err != nil {
		return nil, err
	}
	text, err := os.ReadFile(t.ClientCA)
	if err != nil {
		return nil, err
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(text) {
		return nil, fmt.Errorf("%s has no certificate", t.ClientCA)
	}
	return &tls.Config{MinVersion: tls.VersionTLS12, Certificates: []tls.Certificate{cert}, ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: pool}, nil
}

// serve takes connections until ctx ends (I5).
func (t *Intake) serve(ctx context.Context) error {
	l := t.cfg.Listener
	defer context.AfterFunc(ctx, func() { _ = l.Close() })()
	var wg sync.WaitGroup
	defer wg.Wait()
	var taken room
	for {
		conn, err := l.Accept()
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err != nil {
			if errors.Is(err, net.ErrClosed) {
				return fmt.Errorf("take plans over TCP: %w", err)
			}
			t.log(fmt.Sprintf("a connection was not taken: %v", err))
			select { // there may be no file left for it
			case <-ctx.Done():
			case <-time.After(100 * time.Millisecond):
			}
			continue
		}
		free, ok := taken.take(conn.RemoteAddr())
		if !ok {
			_ = conn.Close()
			continue
		}
		wg.Go(func() {
			defer free()
			defer context.AfterFunc(ctx, func() { _ = conn.Close() })()
			t.conn(ctx, conn)
		})
	}
}

// room has the connections that there are. The zero value has none.
type room struct {
	mu  sync.Mutex
	all int
	of  map[netip.Prefix]int
}

// take takes room for a connection, and returns what gives it back; false: there is none.
func (r *room) take(from net.Addr) (free func(), ok bool) {
	of := network(from)
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.all >= maxConns || r.of[of] >= maxConnsOf {
		return nil, false
	}
	if r.of == nil {
		r.of = map[netip.Prefix]int{}
	}
	r.all++
	r.of[of]++
	return func() {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.all--
		if r.of[of]--; r.of[of] == 0 {
			delete(r.of, of)
		}
	}, true
}

// network is what counts as one address: of IPv6 a network of 64 bits.
func network(of net.Addr) netip.Prefix {
	tcp, ok := of.(*net.TCPAddr)
	if !ok {
		return netip.Prefix{}
	}
	ip := tcp.AddrPort().Addr().Unmap()
	bits := 32
	if ip.Is6() {
		bits = 64
	}
	p, _ := ip.WithZone("").Prefix(bits) // what is no address is one as well
	return p
}

// conn takes a document, and answers.
func (t *Intake) conn(ctx context.Context, conn net.Conn) {
	defer conn.Close()
	ctx, cancel := context.WithTimeout(ctx, connWait)
	defer cancel()
	defer context.AfterFunc(ctx, func() { _ = conn.Close() })()
	c := &paced{Conn: conn}
	in, out := bufio.NewReaderSize(c, 64<<10), bufio.NewWriterSize(c, 64<<10)
	format, query := plan.Look(in)
	var receipt plan.Receipt
	switch {
	case format == "":
		receipt = plan.Refused(job.Problem{Message: "this is neither XML nor JSON"})
	case query:
		begun := &counted{Writer: out}
		text, err := io.ReadAll(io.LimitReader(in, plan.MaxQueryBytes+1))
		if err == nil {
			err = t.report(ctx, format, text, begun)
		}
		switch {
		case err == nil:
			_ = out.Flush() // who does not read has gone
			return
		case begun.n > 0:
			return // it is no whole document
		}
		receipt = refusal(err)
	default:
		receipt = t.send(ctx, format, in)
		t.log(fmt.Sprintf("%s: plan %s/%s, accepted: %v", conn.RemoteAddr(), receipt.Upstream, receipt.Plan, receipt.Accepted))
	}
	if err := receipt.Write(out, answerFormat(format)); err != nil {
		return
	}
	if out.Flush() == nil {
		_, _ = io.Copy(io.Discard, io.LimitReader(in, plan.MaxBytes)) // else what was not read takes the answer away
	}
}

// counted counts what is written.
type counted struct {
	io.Writer

	n int
}

func (c *counted) Write(b []byte) (int, error) {
	n, err := c.Writer.Write(b)
	c.n += n
	return n, err
}

// paced is a connection each piece of which has pieceWait, and which is waited for only as long
// as it goes on: for paceGrace in each direction, and a second more for each paceRate bytes.
type paced struct {
	net.Conn

	in, out pace
}

func (p *paced) Read(b []byte) (int, error) {
	begun := time.Now()
	_ = p.SetReadDeadline(p.in.until(begun)) // it may be closed, which the read tells
	n, err := p.Conn.Read(b)
	p.in.went(n, time.Since(begun))
	return n, err
}

func (p *paced) Write(b []byte) (int, error) {
	begun := time.Now()
	_ = p.SetWriteDeadline(p.out.until(begun))
	n, err := p.Conn.Write(b)
	p.out.went(n, time.Since(begun))
	return n, err
}

// pace is how a direction has gone on.
type pace struct {
	bytes  int64
	waited time.Duration
}

// until is the deadline of what begins now.
func (p *pace) until(now time.Time) time.Time {
	most := paceGrace + time.Duration(p.bytes)*time.Second/paceRate
	return now.Add(min(pieceWait, most-p.waited))
}

func (p *pace) went(n int, waited time.Duration) {
	p.bytes += int64(n)
	p.waited += waited
}
