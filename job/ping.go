package job

import (
	"net/url"
	"strings"
)

// Ping is a check of healthchecks.io, or of what speaks as it does, that is told of each
// run: that it begins (/start), that it succeeded, or that it failed (/fail). It notices
// itself when it is told nothing.
type Ping struct {
	// URL is the check's ping address, as in https://hc-ping.com/UUID. Nodes call it, as
	// far as their setting egress.allow lets them.
	URL string `json:"url,omitempty"`
	// URLFile is a file of the nodes with the address, in the place of URL: they look for
	// it where they look for secrets of notifiers.
	URLFile string `json:"urlFile,omitempty"`
}

// PingEvent is what a check is told of a run.
type PingEvent string

// The events, as they stand behind a check's address.
const (
	PingStart   PingEvent = "start"
	PingSuccess PingEvent = ""
	PingFail    PingEvent = "fail"
)

// PingCall is something that a check is to be told.
type PingCall struct {
	Job   Key
	Ping  Ping
	Run   RunID
	Event PingEvent
	// Text is for people.
	Text string
}

// PingAt is what a check is told of a run that ended in this state, and whether it is told
// anything: of one that was cancelled, skipped or missed it is not. That nothing came it
// notices itself.
func PingAt(s State) (PingEvent, bool) {
	switch {
	case OnSuccess.Meets(s):
		return PingSuccess, true
	case OnFailure.Meets(s):
		return PingFail, true
	}
	return "", false
}

func (g *Ping) check(p *problems) {
	p.address("spec.ping", g.URL, g.URLFile)
	if g.URL == "" {
		return
	}
	u, err := url.Parse(g.URL)
	switch {
	case len(g.URL) > MaxPingURL:
		p.add("spec.ping.url", "has %d bytes; at most %d are allowed", len(g.URL), MaxPingURL)
	case err != nil || u.Hostname() == "" || u.Scheme != "http" && u.Scheme != "https" || u.User != nil || strings.Contains(g.URL, "#"):
		p.add("spec.ping.url", "is no address to call; give the check's, as in https://hc-ping.com/UUID, without a name, a password or a fragment")
	}
}

// MaxPingURL bounds the bytes of a check's address.
const MaxPingURL = 2000
