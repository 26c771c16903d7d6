package httpapi

import (
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/carillon-cron/carillon/internal/control/caller"
	"github.com/carillon-cron/carillon/internal/limit"
)

// Limits bound what one caller does: a token, a session of the page, an account of the
// local socket, or, of whom nothing is known, an address. Zero values are no bounds.
type Limits struct {
	// Requests is how many it makes.
	Requests limit.Rate
	// Streams is how many answers that go on it has open at a time: events, output,
	// results.
	Streams int
}

// streamsAgain is when who has too many streams open may ask for another.
const streamsAgain = 5 * time.Second

// limited refuses what one caller does too often. Health is told to everybody: who looks
// after nodes asks all the time.
func (a *API) limited(next http.Handler) http.Handler {
	var rates limit.Rates
	var places limit.Places
	most := a.cfg.Limits
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == livezPath || r.URL.Path == readyzPath {
			next.ServeHTTP(w, r)
			return
		}
		who := counted(r)
		if wait := rates.Take(who, most.Requests, time.Now()); wait > 0 {
			a.tooMany(w, "requests", &caller.BusyError{RetryAfter: wait, Why: fmt.Sprintf("more than %g requests a second came from here (--max-requests-per-second)", most.Requests.PerSecond)})
			return
		}
		if goesOn(r) {
			giveBack, ok := places.Take(who, most.Streams)
			if !ok {
				a.tooMany(w, "streams", &caller.BusyError{RetryAfter: streamsAgain, Why: fmt.Sprintf("%d streams are open from here, which is the most (--max-streams)", most.Streams)})
				return
			}
			defer giveBack()
		}
		next.ServeHTTP(w, r)
	})
}

func (a *API) tooMany(w http.ResponseWriter, of string, busy *caller.BusyError) {
	a.metrics.limited.WithLabelValues(of).Inc()
	writeProblem(w, busy)
}

// counted is as whom a request counts.
func counted(r *http.Request) string {
	c, _ := caller.From(r.Context())
	if c.Known() {
		return "as " + c.Name
	}
	return limit.Address(c.Remote)
}

// goesOn reports whether the answer to a request may go on for as long as its client
// likes.
func goesOn(r *http.Request) bool {
	if r.URL.Path == eventsPath || r.URL.Path == mirrorPath {
		return true
	}
	run, ok := strings.CutPrefix(r.URL.Path, "/v1/runs/")
	return ok && (strings.HasSuffix(run, "/output") || strings.HasSuffix(run, "/results"))
}
