package httpapi

import (
	"fmt"
	"net/http"
	"runtime/debug"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"
)

// metrics are the API's own.
type metrics struct {
	requests *prometheus.CounterVec
	limited  *prometheus.CounterVec
}

func newMetrics(reg prometheus.Registerer) (*metrics, error) {
	m := &metrics{requests: prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "carillon_http_requests_total",
		Help: "HTTP requests that were answered, by route and status.",
	}, []string{"route", "code"}), limited: prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "carillon_http_limited_total",
		Help: "HTTP requests that were refused as their caller makes too many, or has too many streams open.",
	}, []string{"limit"})}
	if reg == nil {
		return m, nil
	}
	for _, c := range []prometheus.Collector{m.requests, m.limited} {
		if err := reg.Register(c); err != nil {
			return nil, fmt.Errorf("register metrics: %w", err)
		}
	}
	return m, nil
}

// Middleware wraps all that the node serves over HTTP: it refuses what pages of
// other sites ask for (see httpguard), finds out who asks, and refuses what one caller
// asks too often (see Limits), answers for handlers that panic, counts and logs.
func (a *API) Middleware(next http.Handler) http.Handler {
	packed := &packing{}
	next = patient(a.guard.Handler(a.identify(a.limited(packed.handler(next)))))
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		begin := time.Now()
		rec := &recorder{ResponseWriter: w}
		defer func() {
			cause := recover()
			abort := cause == http.ErrAbortHandler //nolint:errorlint // a sentinel that is thrown, not wrapped
			if cause != nil && !abort {
				a.log.Error("handler panicked", zap.Any("cause", cause), zap.String("path", r.URL.Path), zap.ByteString("stack", debug.Stack()))
				if rec.status == 0 {
					writeProblem(rec, problem(http.StatusInternalServerError, "internal error; the node's log has the details"))
				} else {
					abort = true // the answer is cut short, and must look so
				}
			}
			a.observe(r, rec, time.Since(begin))
			if abort {
				panic(http.ErrAbortHandler)
			}
		}()
		r = a.named(rec, r) // the mux notes its route in this one
		next.ServeHTTP(rec, r)
	})
}

func (a *API) observe(r *http.Request, rec *recorder, took time.Duration) {
	route := r.Pattern // set by the mux that took the request
	if route == "" {
		route = "none"
	}
	status := rec.status
	if status == 0 {
		status = http.StatusOK
	}
	a.metrics.requests.WithLabelValues(route, strconv.Itoa(status)).Inc()
	a.log.Debug("request", zap.String("method", r.Method), zap.String("path", r.URL.Path), zap.String("route", route),
		zap.Int("status", status), zap.Int64("bytes", rec.bytes), zap.Duration("took", took), zap.String("remote", r.RemoteAddr))
}

// recorder notes what was answered.
type recorder struct {
	http.ResponseWriter

	status int
	bytes  int64
}

// Unwrap lets http.ResponseController reach the writer.
func (r *recorder) Unwrap() http.ResponseWriter { return r.ResponseWriter }

// WriteHeader implements http.ResponseWriter.
func (r *recorder) WriteHeader(status int) {
	if r.status == 0 && status >= http.StatusOK {
		r.status = status
	}
	r.ResponseWriter.WriteHeader(status)
}

// Write implements http.ResponseWriter.
func (r *recorder) Write(b []byte) (int, error) {
	if r.status == 0 {
		r.status = http.StatusOK
	}
	n, err := r.ResponseWriter.Write(b)
	r.bytes += int64(n)
	return n, err
}
