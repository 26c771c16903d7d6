package cli

import (
	"fmt"
	"io"
	"strings"

	"github.com/carillon-cron/carillon/api"
	"github.com/carillon-cron/carillon/job"
)

// bar is one line on a terminal that tells how far a run is; elsewhere it is
// silent but for what the run waits for.
type bar struct {
	w      io.Writer
	active bool
	tell   bool
	said   string
}

func (ev execVerbs) newBar(tell bool) *bar {
	// Its own line moves the cursor; all that it says of others is oneLine.
	return &bar{w: ev.opts.Stderr, tell: tell, active: tell && terminal(ev.opts.Stderr)}
}

func (b *bar) show(p *api.Progress) {
	if p.Reason != "" && p.Reason != b.said && !p.State.Final() {
		b.said = p.Reason
		b.clear()
		fmt.Fprintln(b.w, oneLine(p.Reason))
	}
	if !b.active || p.Tasks == 0 {
		return
	}
	done := 0
	var parts []string
	for _, s := range job.States() {
		n := p.States[s]
		if s.Final() {
			done += n
		}
		if n > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", n, s))
		}
	}
	fmt.Fprintf(b.w, "\r\x1b[K%d of %d ended: %s", done, p.Tasks, strings.Join(parts, ", "))
}

func (b *bar) clear() {
	if b.active {
		fmt.Fprint(b.w, "\r\x1b[K")
	}
}

func (b *bar) end() { b.clear() }
