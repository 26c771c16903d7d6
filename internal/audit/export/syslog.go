package export

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"os"
	"strconv"
	"time"
)

// Networks of syslogs.
const (
	NetworkUnix = "unix"
	NetworkTCP  = "tcp"
	NetworkTLS  = "tls"
)

const (
	// priority is facility 13, log audit, and severity 5, notice (RFC 5424, 6.2.1).
	priority = 13*8 + 5
	// syslogTimeout bounds the way to a syslog, and the writing of a segment.
	syslogTimeout = 10 * time.Second
)

// Syslog is a sink of RFC 5424 messages. Use OpenSyslog.
type Syslog struct {
	network, address string
	state            string
	host             string
	at               position
	conn             net.Conn
	// framed: messages follow one another on a stream, each after its length (RFC 6587).
	framed bool
	tls    *tls.Config
	now    func() time.Time
}

// OpenSyslog returns a sink to a syslog, which is connected to when there is something to
// tell: over a local socket of a path, by TCP, or by TLS with what this host trusts. The
// file state remembers how far it has come. host is whose messages they are.
func OpenSyslog(network, address, state, host string) (*Syslog, error) {
	p, err := readPosition(state, network+" "+address)
	if err != nil {
		return nil, err
	}
	return &Syslog{
		network: network, address: address, state: state, host: host, at: p, now: time.Now, tls: &tls.Config{MinVersion: tls.VersionTLS12},
	}, nil
}

// Last implements Sink.
func (s *Syslog) Last() int64 { return s.at.Segment }

// Known implements Sink.
func (s *Syslog) Known() (map[int64]string, error) {
	if s.at.SHA256 == "" {
		return nil, nil
	}
	return map[int64]string{s.at.Segment: s.at.SHA256}, nil
}

// Write implements Sink.
func (s *Syslog) Write(ctx context.Context, seq int64, lines [][]byte) error {
	ctx, cancel := context.WithTimeout(ctx, syslogTimeout)
	defer cancel()
	err := s.send(ctx, lines)
	if err != nil {
		s.hangUp()
		// A connection that was idle may have been closed at the other end.
		if err = s.send(ctx, lines); err != nil {
			s.hangUp()
			return fmt.Errorf("syslog %s: %w", s.address, err)
		}
	}
	s.at.Segment, s.at.SHA256 = seq, hashOf(lines)
	return s.at.write(s.state)
}

func (s *Syslog) send(ctx context.Context, lines [][]byte) error {
	if s.conn == nil {
		if err := s.dial(ctx); err != nil {
			return err
		}
	}
	deadline, _ := ctx.Deadline()
	if err := s.conn.SetWriteDeadline(deadline); err != nil {
		return err
	}
	for _, line := range lines {
		if _, err := s.conn.Write(s.message(line)); err != nil {
			return err
		}
	}
	return nil
}

func (s *Syslog) dial(ctx context.Context) (err error) {
	var d net.Dialer
	switch s.network {
	case NetworkUnix: // most have a socket for datagrams, some one for streams
		s.framed = false
		if s.conn, err = d.DialContext(ctx, "unixgram", s.address); err != nil {
			var stream error
			s.conn, stream = d.DialContext(ctx, "unix", s.address)
			s.framed = stream == nil
			if stream == nil {
				err = nil
			}
		}
	case NetworkTCP:
		s.framed = true
		s.conn, err = d.DialContext(ctx, "tcp", s.address)
	case NetworkTLS:
		s.framed = true
		s.conn, err = (&tls.Dialer{NetDialer: &d, Config: s.tls}).DialContext(ctx, "tcp", s.address)
	}
	if err != nil {
		s.conn = nil // not one that is nil within
	}
	return err
}

// message is a line as RFC 5424 has it: PRI VERSION TIMESTAMP HOSTNAME APP-NAME PROCID
// MSGID STRUCTURED-DATA MSG.
func (s *Syslog) message(line []byte) []byte {
	var b bytes.Buffer
	fmt.Fprintf(&b, "<%d>1 %s %s carillon %d audit - ", priority, s.now().UTC().Format("2006-01-02T15:04:05.000000Z"), s.host, os.Getpid())
	b.Write(line)
	if !s.framed {
		return b.Bytes()
	}
	return append([]byte(strconv.Itoa(b.Len())+" "), b.Bytes()...)
}

func (s *Syslog) hangUp() {
	if s.conn != nil {
		_ = s.conn.Close()
		s.conn = nil
	}
}

// Close implements Sink.
func (s *Syslog) Close() error {
	if s.conn == nil {
		return nil
	}
	err := s.conn.Close()
	s.conn = nil
	if errors.Is(err, net.ErrClosed) {
		return nil
	}
	return err
}
