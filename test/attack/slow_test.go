package attack

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/carillon-cron/carillon/internal/testkit/await"
)

// dribble opens connections to the API, sends the begin of a request on each, and
// then a byte now and then; it comes again with each connection that it loses,
// until the test ends. It returns when all have been tried.
func dribble(t *testing.T, n *node, connections int, begin, piece string, secure bool) {
	t.Helper()
	tried := make(chan struct{}, connections)
	hold := func() {
		conn, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", n.api)
		if err != nil {
			return
		}
		if secure {
			conn = tls.Client(conn, &tls.Config{InsecureSkipVerify: true}) // intruders do not care
		}
		defer conn.Close()
		defer context.AfterFunc(t.Context(), func() { _ = conn.Close() })() // it is closed either way
		if _, err := io.WriteString(conn, begin); err != nil {
			return
		}
		select {
		case tried <- struct{}{}:
		default:
		}
		for {
			time.Sleep(300 * time.Millisecond)
			if _, err := io.WriteString(conn, piece); err != nil {
				return
			}
		}
	}
	for range connections {
		go func() {
			for t.Context().Err() == nil {
				hold()
			}
		}()
	}
	for range connections {
		<-tried
	}
}

// Who sends requests byte by byte, on more connections than the API has places,
// keeps nobody out: neither others of its own address, nor the local socket.
func TestSlowRequestsKeepNobodyOut(t *testing.T) {
	t.Parallel()
	secure := openAPI()
	for name, c := range map[string]struct {
		begin, piece string
		args         []string
	}{
		// A client's hello of 256 bytes, of which the last never comes.
		"handshakes": {begin: "\x16\x03\x01\x01\x00\x01\x00\x00\xfc\x03\x03", piece: "\x00", args: secure},
		"over TLS":   {begin: "GET /v1/minions HTTP/1.1\r\nHost: localhost\r\nX-A: a", piece: "a", args: secure},
		"heads":      {begin: "GET /v1/minions HTTP/1.1\r\nHost: localhost\r\nX-A: a", piece: "a"},
		"bodies":     {begin: "POST /v1/apply HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/yaml\r\nContent-Length: 100000\r\n\r\n#", piece: "#"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			n := startNodeWith(t, newCluster(t), "n1", 1024, c.args...)
			const places = 64 // at so many files
			dribble(t, n, 2*places, c.begin, c.piece, name == "over TLS")
			for range 3 {
				await.Until(t, "the API answers", func() bool {
					res, err := n.get("/v1/nodes")
					return err == nil && res.code == http.StatusOK
				})
			}
			p := program{name: "carillon", args: []string{"nodes", "--server", "unix://" + n.dir + "/carillon.sock"}}
			if got := run(t, p).must(t); !strings.Contains(got, "n1") {
				t.Errorf("over the socket: %q", got)
			}
		})
	}
}

// A head that nobody needs is refused before it fills the memory, on the API and
// on the port of minions.
func TestLargeHeadsAreRefused(t *testing.T) {
	t.Parallel()
	n := startNode(t, newCluster(t), "n1")
	req, err := http.NewRequest(http.MethodGet, n.url()+"/v1/nodes", http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	for i := range 16 {
		req.Header.Set(fmt.Sprintf("X-%d", i), strings.Repeat("a", 8<<10))
	}
	if res, err := ask(req); err == nil && res.code != http.StatusRequestHeaderFieldsTooLarge {
		t.Errorf("a head of 128 KB: status %d", res.code)
	}
}

// closed is how many connections to the API were refused or closed at a bound.
func (n *node) closed() int {
	res, err := n.get("/metrics")
	if err != nil {
		return 0
	}
	sum := 0
	for line := range strings.Lines(res.body) {
		if rest, ok := strings.CutPrefix(line, `carillon_door_closed_total{bound="`); ok && strings.Contains(rest, `port="api"`) {
			value, err := strconv.ParseFloat(strings.TrimSpace(line[strings.LastIndexByte(line, ' '):]), 64)
			if err == nil {
				sum += int(value)
			}
		}
	}
	return sum
}

// Who has a stream open keeps its connection while others fight for places, over
// HTTP/2 as well, where other requests come and go beside it.
func TestStreamsKeepTheirPlace(t *testing.T) {
	t.Parallel()
	c := newCluster(t)
	n := startNodeWith(t, c, "n1", 1024, openAPI()...)
	client := asking(t, n, c.authority(t))
	open, err := client.Get("https://localhost/v1/events")
	if err != nil {
		t.Fatal(err)
	}
	defer open.Body.Close()
	if open.ProtoMajor != 2 {
		t.Fatalf("the stream is %s", open.Proto)
	}
	ended := make(chan error, 1)
	go func() {
		_, err := io.Copy(io.Discard, open.Body)
		ended <- err
	}()
	const places = 64 // at so many files
	dribble(t, n, 2*places, "GET / HTTP/1.1\r\nX-A: a", "a", true)
	await.Until(t, "many have lost their places", func() bool { return n.closed() >= 8*places })
	res, err := client.Get("https://localhost/v1/nodes")
	if err != nil || res.StatusCode != http.StatusOK {
		t.Errorf("a request beside the stream: %v %v", res, err)
	} else {
		_ = res.Body.Close()
	}
	select {
	case err := <-ended:
		t.Errorf("the stream has ended: %v", err)
	default:
	}
}
