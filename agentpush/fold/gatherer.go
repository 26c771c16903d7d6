// Package fold shows the output of many hosts on one screen: hosts that said
// the same are one block, under a header that names them all, as `clush -b`
// shows it.
//
//	---------------
//	web[001-119] (119)
//	---------------
//	nginx/1.26.2
//	---------------
//	web120
//	---------------
//	nginx/1.24.0
package fold

import (
	"bytes"
	"cmp"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"

	"github.com/carillon-cron/carillon/agentpush/target"
)

// Gatherer takes output as it comes in and gathers the hosts that said the same.
// It keeps each different beginning once, so its memory grows with what hosts
// said differently, not with their number. The zero value is ready for use, and
// all methods may be called by many goroutines.
type Gatherer struct {
	mu sync.Mutex
	// first stands before the first line of all hosts.
	first line
	hosts map[string]*progress
}

// line is one line of output after those that lead to it.
type line struct {
	before *line
	text   string
	next   map[string]*line
}

// then returns the line with this text that follows l.
func (l *line) then(text []byte) *line {
	if n := l.next[string(text)]; n != nil {
		return n
	}
	if l.next == nil {
		l.next = map[string]*line{}
	}
	n := &line{before: l, text: string(text)}
	l.next[n.text] = n
	return n
}

// progress is how far a host has come.
type progress struct {
	at *line
	// open is a line that has not ended yet.
	open []byte
}

// Add appends output to that of the host. It may begin and end anywhere in a
// line. No output makes the host known, as one that has said nothing so far.
func (g *Gatherer) Add(host string, output []byte) {
	g.mu.Lock()
	defer g.mu.Unlock()
	p := g.hosts[host]
	if p == nil {
		if g.hosts == nil {
			g.hosts = map[string]*progress{}
		}
		p = &progress{at: &g.first}
		g.hosts[host] = p
	}
	for {
		text, rest, ended := bytes.Cut(output, []byte("\n"))
		if !ended {
			p.open = append(p.open, text...)
			return
		}
		if len(p.open) > 0 {
			text = append(p.open, text...)
			p.open = p.open[:0]
		}
		p.at, output = p.at.then(text), rest
	}
}

// Group is the hosts that have said the same.
type Group struct {
	Hosts target.NodeSet
	// Lines is what they said. It is empty for those that said nothing. Whether
	// the last line has ended makes no difference.
	Lines []string
}

// Groups returns the groups as they are now: large ones first, then by the
// name of their first host. Every host is in exactly one.
func (g *Gatherer) Groups() []Group {
	g.mu.Lock()
	defer g.mu.Unlock()
	hosts := map[*line]*target.NodeSet{}
	for name, p := range g.hosts {
		at := p.at
		if len(p.open) > 0 {
			at = at.then(p.open)
		}
		if hosts[at] == nil {
			hosts[at] = &target.NodeSet{}
		}
		hosts[at].Add(name)
	}
	type ordered struct {
		Group
		first string
	}
	all := make([]ordered, 0, len(hosts))
	for at, set := range hosts {
		all = append(all, ordered{Group{*set, at.lines()}, set.Names()[0]})
	}
	slices.SortFunc(all, func(a, b ordered) int {
		return cmp.Or(cmp.Compare(b.Hosts.Len(), a.Hosts.Len()), strings.Compare(a.first, b.first))
	})
	out := make([]Group, len(all))
	for i, o := range all {
		out[i] = o.Group
	}
	return out
}

// lines returns all lines up to l.
func (l *line) lines() []string {
	var out []string
	for ; l.before != nil; l = l.before {
		out = append(out, l.text)
	}
	slices.Reverse(out)
	return out
}

const rule = "---------------\n"

// Write shows the groups, each under a header with its hosts and, if there are
// several, their number. A group that said nothing has a header only.
func Write(w io.Writer, groups []Group) error {
	for _, g := range groups {
		var b strings.Builder
		b.WriteString(rule + g.Hosts.String())
		if n := g.Hosts.Len(); n > 1 {
			fmt.Fprintf(&b, " (%d)", n)
		}
		b.WriteString("\n" + rule)
		for _, l := range g.Lines {
			b.WriteString(l + "\n")
		}
		if _, err := io.WriteString(w, b.String()); err != nil {
			return fmt.Errorf("write folded output: %w", err)
		}
	}
	return nil
}
