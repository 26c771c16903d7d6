package httpapi

import (
	"errors"
	"io"
	"net/http"
	"time"
)

const (
	// bodyWait is how long the body of a request may take to come.
	bodyWait = 30 * time.Second
	// readerWait is how long a client may take to make room for the next piece
	// of an answer. An answer as a whole may take as long as it likes: streams
	// and long polls last.
	readerWait = 30 * time.Second
)

// patient bounds how long a request waits for its client: for the body as a
// whole, and for each piece of the answer to be taken. A server's own timeouts
// would cut streams and long polls.
//
// A deadline for writing stands only while something is written: over HTTP/2 one
// that passes ends the stream even where its handler writes nothing just then.
func patient(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		control := http.NewResponseController(w)
		if r.Body != nil && r.Body != http.NoBody {
			// Writers that are no connection, as in tests, have no deadlines.
			if control.SetReadDeadline(time.Now().Add(bodyWait)) == nil {
				r.Body = &body{ReadCloser: r.Body, control: control}
			}
		}
		pw := &patientWriter{ResponseWriter: w, control: control}
		if r.ProtoMajor < 2 {
			pw.extend() // for "100 Continue"
		}
		next.ServeHTTP(pw, r)
		pw.extend() // for what the server has kept of the answer
	})
}

// body is a request's body, after whose end the connection is read without a
// deadline: that is how the server learns that the client has left.
type body struct {
	io.ReadCloser

	control *http.ResponseController
}

func (b *body) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if errors.Is(err, io.EOF) {
		_ = b.control.SetReadDeadline(time.Time{}) // it has worked before
	}
	return n, err
}

// patientWriter gives the client readerWait for each piece.
type patientWriter struct {
	http.ResponseWriter

	control *http.ResponseController
	// own: the handler sets deadlines itself.
	own bool
}

// SetWriteDeadline implements what http.ResponseController asks for.
func (w *patientWriter) SetWriteDeadline(at time.Time) error {
	w.own = true
	return w.control.SetWriteDeadline(at)
}

// Unwrap lets http.ResponseController reach the writer.
func (w *patientWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }

func (w *patientWriter) Write(b []byte) (int, error) {
	defer w.bound()()
	return w.ResponseWriter.Write(b)
}

// FlushError implements what http.ResponseController asks for.
func (w *patientWriter) FlushError() error {
	defer w.bound()()
	return w.control.Flush()
}

// bound gives the client its time until the returned function is called.
func (w *patientWriter) bound() func() {
	if w.own {
		return func() {}
	}
	w.extend()
	return func() { _ = w.control.SetWriteDeadline(time.Time{}) } // see patient
}

// extend gives the client its time from now on.
func (w *patientWriter) extend() { _ = w.control.SetWriteDeadline(time.Now().Add(readerWait)) } // see patient
