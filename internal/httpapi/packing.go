package httpapi

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/hex"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
)

// packing compresses answers, and tags them, so that what a client has already is not sent
// again: If-None-Match is answered by 304. Answers that go on (events, output) pass as they
// are, piece by piece.
type packing struct{ writers sync.Pool }

const (
	// packedFrom is how long an answer is at least that is compressed.
	packedFrom = 1 << 10
	// taggedUpTo is how long an answer is at most that is tagged: it is kept until its end.
	taggedUpTo = 2 << 20
)

// handler wraps what answers.
func (p *packing) handler(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodGet {
			next.ServeHTTP(w, r)
			return
		}
		pw := &packer{ResponseWriter: w, packing: p, request: r, status: http.StatusOK}
		next.ServeHTTP(pw, r)
		pw.end() // not where it panics: nothing of the answer is out then
	})
}

// packer is one answer.
type packer struct {
	http.ResponseWriter

	packing *packing
	request *http.Request
	status  int
	// kept is the answer up to here, until it is begun.
	kept  bytes.Buffer
	begun bool
	gzip  *gzip.Writer
}

// Unwrap lets http.ResponseController reach the writer.
func (p *packer) Unwrap() http.ResponseWriter { return p.ResponseWriter }

// WriteHeader implements http.ResponseWriter.
func (p *packer) WriteHeader(status int) {
	if status < http.StatusOK {
		p.ResponseWriter.WriteHeader(status)
		return
	}
	if !p.begun {
		p.status = status
	}
}

// Write implements http.ResponseWriter.
func (p *packer) Write(b []byte) (int, error) {
	if !p.begun && p.kept.Len()+len(b) <= taggedUpTo {
		return p.kept.Write(b)
	}
	if err := p.begin(true); err != nil {
		return 0, err
	}
	return p.write(b)
}

func (p *packer) write(b []byte) (int, error) {
	if p.gzip != nil {
		return p.gzip.Write(b)
	}
	return p.ResponseWriter.Write(b)
}

// FlushError implements what http.ResponseController asks for.
func (p *packer) FlushError() error {
	if err := p.begin(false); err != nil {
		return err
	}
	if p.gzip != nil {
		if err := p.gzip.Flush(); err != nil {
			return err
		}
	}
	return http.NewResponseController(p.ResponseWriter).Flush()
}

// begin sends the head of the answer and what was kept of it; long: more of it will come
// at once.
func (p *packer) begin(long bool) error {
	if p.begun {
		return nil
	}
	p.begun = true
	h := p.Header()
	if packable(h) && p.status == http.StatusOK {
		h.Add("Vary", "Accept-Encoding")
		if (long || p.kept.Len() >= packedFrom) && takesGzip(p.request) {
			h.Set("Content-Encoding", "gzip")
			h.Del("Content-Length")
			p.gzip = p.packing.take(p.ResponseWriter)
		}
	}
	p.ResponseWriter.WriteHeader(p.status)
	if p.kept.Len() == 0 {
		return nil
	}
	_, err := p.write(p.kept.Bytes())
	p.kept.Reset()
	return err
}

// end sends the answer as a whole, or that the client has it.
func (p *packer) end() {
	if !p.begun && p.status == http.StatusOK && tagged(p.Header()) {
		tag := etag(p.Header().Get("ETag"), p.kept.Bytes())
		p.Header().Set("ETag", tag)
		if has(p.request, tag) {
			p.begun = true
			p.Header().Del("Content-Type")
			p.Header().Del("Content-Length")
			p.ResponseWriter.WriteHeader(http.StatusNotModified)
			return
		}
	}
	// A reader that has gone needs no answer.
	_ = p.begin(false)
	if p.gzip != nil {
		_ = p.gzip.Close()
		p.packing.writers.Put(p.gzip)
	}
}

func (p *packing) take(w http.ResponseWriter) *gzip.Writer {
	if z, ok := p.writers.Get().(*gzip.Writer); ok {
		z.Reset(w)
		return z
	}
	z, _ := gzip.NewWriterLevel(w, gzip.BestSpeed) // there is such a level
	return z
}

// packable reports whether an answer is text that nobody has encoded yet, and that does not
// go on.
func packable(h http.Header) bool {
	if h.Get("Content-Encoding") != "" || h.Get("Content-Range") != "" {
		return false
	}
	kind, _, _ := strings.Cut(h.Get("Content-Type"), ";")
	switch strings.TrimSpace(kind) {
	case "text/event-stream", "application/x-ndjson":
		return false
	case "application/json", "application/openapi+json", "text/html", "text/css", "text/javascript", "image/svg+xml", "text/plain":
		return true
	}
	return false
}

// tagged reports whether an answer is one that programs ask for again and again: JSON.
func tagged(h http.Header) bool {
	kind, _, _ := strings.Cut(h.Get("Content-Type"), ";")
	return strings.HasSuffix(strings.TrimSpace(kind), "json")
}

// etag tags an answer: behind the generation of the thing that it is of, if it has one.
func etag(generation string, body []byte) string {
	sum := sha256.Sum256(body)
	text := hex.EncodeToString(sum[:8])
	if g := strings.Trim(generation, `"`); g != "" {
		text = g + "-" + text
	}
	return strconv.Quote(text)
}

// has reports whether a client says that it has what is tagged so. The comparison is the
// weak one: proxies that compress weaken tags.
func has(r *http.Request, tag string) bool {
	for one := range strings.SplitSeq(r.Header.Get("If-None-Match"), ",") {
		if one = strings.TrimSpace(one); one == "*" || strings.TrimPrefix(one, "W/") == tag {
			return true
		}
	}
	return false
}

// takesGzip reports whether a client takes what is compressed. One on the local socket has
// nothing of it.
func takesGzip(r *http.Request) bool {
	if at, ok := r.Context().Value(http.LocalAddrContextKey).(net.Addr); ok && at.Network() == "unix" {
		return false
	}
	for one := range strings.SplitSeq(r.Header.Get("Accept-Encoding"), ",") {
		name, quality, _ := strings.Cut(strings.TrimSpace(one), ";")
		if name != "gzip" && name != "*" {
			continue
		}
		q, err := strconv.ParseFloat(strings.TrimPrefix(strings.TrimSpace(quality), "q="), 64)
		return quality == "" || err == nil && q > 0
	}
	return false
}

// generation reads the generation that If-Match names: 0 where there is none, and -1, which
// no thing has, where it is not one of our tags.
func generation(r *http.Request) int64 {
	text := strings.TrimSpace(r.Header.Get("If-Match"))
	if text == "" || text == "*" {
		return 0
	}
	number, _, _ := strings.Cut(strings.Trim(strings.TrimPrefix(text, "W/"), `"`), "-")
	g, err := strconv.ParseInt(number, 10, 64)
	if err != nil || g < 1 {
		return -1
	}
	return g
}
